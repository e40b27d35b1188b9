//! Making a bare repository, as `git init --bare` does (gitrepository-layout(5)).

use std::{fs, io, path::Path};

use crate::{
    ObjectFormat,
    files::{
        self,
        sharing::Sharing,
        sync_directory,
        temp_dirs::{self, RunFolder},
    },
};

const FOLDERS: [&str; 5] = [
    "info",
    "objects/info",
    "objects/pack",
    "refs/heads",
    "refs/tags",
];
/// The text that git writes.
const DESCRIPTION: &str =
    "Unnamed repository; edit this file 'description' to name the repository.\n";
/// Git's default for `init.defaultBranch`.
const HEAD: &str = "ref: refs/heads/master\n";
/// The names that exist before `HEAD`, which is written last: a folder with only these is an interrupted `init`.
const BEFORE_HEAD: [&str; 5] = ["config", "description", "info", "objects", "refs"];

/// Makes the missing parts of a bare repository at `path`, and its parent folders.
pub(super) fn init_bare(path: &Path, format: ObjectFormat) -> io::Result<()> {
    for folder in FOLDERS {
        fs::create_dir_all(path.join(folder))?;
    }
    let made = RunFolder::create(path, Sharing::Umask)?;
    write_new(&made, &path.join("description"), DESCRIPTION)?;
    let folds_case = path.join("DeScRiPtIoN").exists();
    write_new(&made, &path.join("config"), &config(format, folds_case))?;
    sync_directory(path)?;
    write_new(&made, &path.join("HEAD"), HEAD)?;
    sync_directory(path)
}

/// Whether `path` does not exist, is empty, or holds only an interrupted `init`.
pub(super) fn is_vacant(path: &Path) -> io::Result<bool> {
    for entry in files::if_exists(path.read_dir())?.into_iter().flatten() {
        let name = entry?.file_name();
        if !BEFORE_HEAD.iter().any(|begun| name == *begun) && !temp_dirs::is_run_folder(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn config(format: ObjectFormat, folds_case: bool) -> String {
    let version = u8::from(format != ObjectFormat::Sha1);
    let file_mode = cfg!(unix);
    let mut config = format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = {file_mode}\n\tbare = true\n"
    );
    if folds_case {
        config += "\tignorecase = true\n";
    }
    if format != ObjectFormat::Sha1 {
        config += &format!("[extensions]\n\tobjectformat = {format}\n");
    }
    config
}

/// Writes a file completely in the folder of a run, and moves it into place unless one exists there.
fn write_new(made: &RunFolder, at: &Path, content: &str) -> io::Result<()> {
    let path = made.path().join(at.file_name().unwrap_or_default());
    files::create(&path, at, content).map(|_| ())
}

//! Every file of a repository, to prove that nothing was changed or left behind.

use super::git::Repo;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Below the git directory, with `/` between the parts, and after the name of an empty directory.
    pub path: String,
    pub size: u64,
    pub hash: u64,
}

impl Repo {
    /// All files and empty directories below the git directory, sorted by path.
    pub fn files(&self) -> Vec<FileEntry> {
        self.files_except(|_| false)
    }

    pub fn files_except(&self, ignored: impl Fn(&str) -> bool) -> Vec<FileEntry> {
        let mut files = Vec::new();
        list(&self.git_dir(), "", &mut files);
        files.retain(|file| !ignored(&file.path));
        files.sort();
        files
    }
}

fn list(dir: &Path, prefix: &str, files: &mut Vec<FileEntry>) {
    let before = files.len();
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let entry = entry.expect("a directory entry");
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a file type").is_dir() {
            list(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push(file(
                path,
                &fs::read(entry.path()).expect("a readable file"),
            ));
        }
    }
    if files.len() == before {
        files.push(file(prefix.to_owned(), b""));
    }
}

fn file(path: String, content: &[u8]) -> FileEntry {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    FileEntry {
        path,
        size: content.len() as u64,
        hash: hasher.finish(),
    }
}

//! The `objects` folders of alternates (`objects/info/alternates` in gitrepository-layout(5)).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use gix::odb::alternate::{Cycle, parse, resolve};

use crate::{Error, ErrorKind};

/// All direct and indirect alternates, each once.
pub(super) fn alternates(repo: &gix::Repository) -> Result<Vec<PathBuf>, Error> {
    let objects = repo.common_dir().join("objects");
    if lead_back(&objects) {
        return past_loops(&objects).map_err(unusable);
    }
    resolve(objects, repo.current_dir()).map_err(unusable)
}

/// Whether the alternates form a loop. Git ignores the line that closes it; gix does not open such a store.
pub(super) fn lead_back(objects: &Path) -> bool {
    let current_dir = env::current_dir().unwrap_or_default();
    let found = resolve(objects.to_owned(), &current_dir);
    found.is_err_and(|err| err.downcast_any_ref::<Cycle>().is_some())
}

/// The alternates without loops and without missing folders: git ignores both.
fn past_loops(objects: &Path) -> gix::Result<Vec<PathBuf>> {
    let mut folders = vec![objects.to_owned()];
    let mut seen: Vec<_> = objects.canonicalize().into_iter().collect();
    let mut at = 0;
    while let Some(folder) = folders.get(at).cloned() {
        at += 1;
        let text = fs::read(folder.join("info/alternates")).unwrap_or_default();
        for path in parse(&text)? {
            let path = folder.join(path);
            if let Ok(real) = path.canonicalize()
                && !seen.contains(&real)
            {
                seen.push(real);
                folders.push(path);
            }
        }
    }
    folders.remove(0);
    Ok(folders)
}

/// The content of `info/alternates` for these folders, with absolute paths: gix resolves relative ones of a nested
/// alternate against the wrong folder.
pub(super) fn alternates_file(paths: &[PathBuf]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(std::path::absolute(path)?.as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

fn unusable(err: gix::Error) -> Error {
    Error::new(ErrorKind::Corrupt, "objects/info/alternates is unusable").with_source(err)
}

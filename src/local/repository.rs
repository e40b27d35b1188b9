//! Opening a repository, and refusing one with unsupported features.

use std::{fs::File, io::Read, iter, path::Path};

use bstr::ByteSlice;
use gix::odb::store::init::Slots;

use super::alternates::alternates;
use crate::{Error, ErrorKind};

/// The extensions that do not change the formats of objects and refs, or that are handled.
const KNOWN_EXTENSIONS: [&str; 7] = [
    "noop",
    "objectFormat",
    "partialClone",
    "preciousObjects",
    "refStorage",
    "relativeWorktrees",
    "worktreeConfig",
];
/// The start of a `.git` file that names the folder of a repository (gitrepository-layout(5)).
const GIT_FILE: &[u8] = b"gitdir: ";

pub(super) fn open(path: &Path) -> Result<gix::ThreadSafeRepository, Error> {
    for file in [path, &path.join(".git")] {
        // Do not parse an arbitrary file: the error would print its first bytes, and it may have gigabytes.
        if is_other_file(file) {
            let text = format!("{} is a file, not a repository", file.display());
            return Err(Error::new(ErrorKind::NotARepository, text));
        }
    }
    // The caller has chosen the path, so the owner of the folder is not checked.
    let options = gix::open::Options::isolated().with(gix::sec::Trust::Full);
    // Objects are opened elsewhere. Without a number given, gix would follow alternates to count packs.
    let options = options.object_store_slots(Slots::Given(1));
    let repo = options.open(path).map_err(|err| {
        let text = format!("{} is not a repository that can be used", path.display());
        Error::new(ErrorKind::NotARepository, text).with_source(err)
    })?;
    match unsupported(&repo.to_thread_local()) {
        None => Ok(repo),
        Some(what) => {
            let text = format!("{} {what}", path.display());
            Err(Error::new(ErrorKind::Unsupported, text))
        }
    }
}

fn is_other_file(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = |file: File| file.take(GIT_FILE.len() as u64).read_to_end(&mut start);
    path.is_file() && File::open(path).and_then(read).is_ok() && start != GIT_FILE
}

/// The unsupported feature of a repository, if it has one.
fn unsupported(repo: &gix::Repository) -> Option<String> {
    let config = repo.config_snapshot();
    let refs = config.string("extensions.refStorage");
    if refs.is_some_and(|refs| refs.as_bstr() != "files") {
        return Some("keeps its refs in a format other than files".to_owned());
    }
    if let Some(extension) = unknown_extension(&config) {
        return Some(format!("uses an extension that is not known: {extension}"));
    }
    let text = "is a partial clone: it may lack objects that its remote has";
    is_partial_clone(repo, &config).then(|| text.to_owned())
}

/// An extension that is not known: such a repository must not be used (gitrepository-layout(5)).
fn unknown_extension(config: &gix::config::Snapshot<'_>) -> Option<String> {
    if config.integer("core.repositoryFormatVersion") < Some(1) {
        return None;
    }
    let sections = config.plumbing().sections_by_name("extensions");
    let mut names = sections.into_iter().flatten().flat_map(|section| {
        let names = section.value_names();
        names.map(|name| name.to_string()).collect::<Vec<_>>()
    });
    names.find(|name| {
        let mut known = KNOWN_EXTENSIONS.iter();
        !known.any(|known| known.eq_ignore_ascii_case(name))
    })
}

/// Whether objects reachable from refs may be missing: the repository has a promisor remote (`promisor-remote.c`), or a
/// pack of one.
fn is_partial_clone(repo: &gix::Repository, config: &gix::config::Snapshot<'_>) -> bool {
    // Git honours this extension in repositories of version 0 as well.
    if config.string("extensions.partialClone").is_some() || has_promisor_remote(config) {
        return true;
    }
    // An error in the alternates shows when the objects are opened.
    let alternates = alternates(repo).unwrap_or_default();
    let mut folders = iter::once(repo.common_dir().join("objects")).chain(alternates);
    folders.any(|objects| has_promisor_pack(&objects))
}

fn has_promisor_remote(config: &gix::config::Snapshot<'_>) -> bool {
    let config = config.plumbing();
    let remotes = config.sections_by_name("remote");
    remotes.into_iter().flatten().any(|remote| {
        let name = remote.header().subsection_name();
        let is_promisor = config.boolean_by("remote", name, "promisor");
        // Git refuses a value that is no boolean.
        is_promisor.map_or(true, |promisor| promisor.unwrap_or(false))
            || remote.contains_value_name("partialCloneFilter")
    })
}

fn has_promisor_pack(objects: &Path) -> bool {
    let packs = objects.join("pack").read_dir();
    let mut packs = packs.into_iter().flatten().flatten();
    packs.any(|entry| Path::new(&entry.file_name()).extension() == Some("promisor".as_ref()))
}

//! The present state of one ref, and the reasons why it may not move. Both are read again under the ref's lock.

use std::{io, path::PathBuf};

use bstr::{BStr, BString, ByteSlice};

use super::{
    checked_out::CheckedOut,
    config::object_format,
    loose_refs::{self, Target},
    packed_refs::LatestSnapshot,
};
use crate::{Reason, RefUpdate, refs};

/// The reason why a ref may not move now, if there is one.
pub(crate) fn obstacle(packed: &mut LatestSnapshot<'_>, update: &RefUpdate) -> Option<Reason> {
    let found = find_obstacle(packed, update);
    found.unwrap_or_else(|err| Some(not_written(&err)))
}

fn find_obstacle(
    packed: &mut LatestSnapshot<'_>,
    update: &RefUpdate,
) -> io::Result<Option<Reason>> {
    let name = update.name.as_bstr();
    if current(packed, name)? != update.expected.map(Target::Object) {
        return Ok(Some(Reason::Raced));
    }
    if update.expected.is_none()
        && let Some(with) = in_the_way(packed, name)?
    {
        return Ok(Some(Reason::NameConflict { with }));
    }
    let is_checked_out = CheckedOut::of(packed.repo).has(name);
    Ok(is_checked_out.then_some(Reason::CheckedOut))
}

/// The present target of a ref.
///
/// Loose refs are read first, here and for conflicts, as git does: a ref that is being packed is then found twice, never
/// missed.
pub(crate) fn current(packed: &mut LatestSnapshot<'_>, name: &BStr) -> io::Result<Option<Target>> {
    match loose_refs::read(&loose(packed.repo, name), object_format(packed.repo))? {
        Some(target) => Ok(Some(target)),
        None => Ok(packed.get()?.find(name)?.map(Target::Object)),
    }
}

/// A ref whose name conflicts with a new ref of this name.
fn in_the_way(packed: &mut LatestSnapshot<'_>, name: &BStr) -> io::Result<Option<BString>> {
    let above = refs::paths_of(name).map(BStr::new);
    for path in above.filter(|path| *path != name) {
        if current(packed, path)?.is_some() {
            return Ok(Some(path.to_owned()));
        }
    }
    let mut below = None;
    let directory = BString::from([name.as_bytes(), b"/"].concat());
    loose_refs::walk(
        packed.repo.common_dir(),
        directory.as_bstr(),
        &mut |found| {
            if below.is_none() && loose_refs::is_ref_file(found.as_bstr()) {
                below = Some(found);
            }
            Ok(())
        },
    )?;
    match below {
        Some(below) => Ok(Some(below)),
        None => packed.get()?.find_below(name),
    }
}

/// The path of a ref's loose file, which may not exist.
pub(crate) fn loose(repo: &gix::Repository, name: &BStr) -> PathBuf {
    let name = gix::path::from_bstr(name).unwrap_or_default();
    repo.common_dir().join(name)
}

/// The reason of a ref that could not be written.
pub(crate) fn not_written(err: &dyn std::error::Error) -> Reason {
    let mut root = err;
    while let Some(source) = root.source() {
        root = source;
    }
    // gix' text has the path. It is left out, because readers of the stats may not be meant to know local paths.
    let text = root.to_string();
    let (what, _) = text.split_once(" at path ").unwrap_or((&text, ""));
    Reason::NotWritten {
        detail: what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::ObjectId;

    #[test]
    fn a_conflicting_ref_is_seen_while_it_is_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = gix::init_bare(folder.path()).expect("a repository");
        let [packed, made, loose] =
            ["packed-refs", "made", "refs/heads/a/b"].map(|name| folder.path().join(name));
        let id = "a".repeat(40);
        fs::create_dir_all(folder.path().join("refs/heads/a")).expect("a directory");
        for _ in 0..300 {
            fs::write(&loose, format!("{id}\n")).expect("a ref");
            fs::write(&packed, "").expect("a file");
            fs::write(&made, format!("{id} refs/heads/a/b\n")).expect("a file");
            let found = thread::scope(|scope| {
                scope.spawn(|| fs::rename(&made, &packed).and_then(|()| fs::remove_file(&loose)));
                let packed = &mut LatestSnapshot::of(&repo);
                in_the_way(packed, "refs/heads/a".into()).expect("no failure")
            });
            assert_eq!(found, Some("refs/heads/a/b".into()));
        }
    }

    /// The lines of a file without the trait `sorted` are sorted each time that it is read.
    #[test]
    fn an_unsorted_file_is_read_once_for_many_refs_and_again_once_it_has_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let repo = gix::init_bare(folder.path()).expect("a repository");
        let write = |digit: &str| {
            let made = folder.path().join("made");
            let line = |number| format!("{} refs/heads/{number}\n", digit.repeat(40));
            let lines: String = (0..5000).rev().map(line).collect();
            fs::write(&made, lines).expect("a file");
            fs::rename(made, folder.path().join("packed-refs")).expect("a file");
        };
        let mut packed = LatestSnapshot::of(&repo);
        for (reads, digit) in [(1, "a"), (2, "b")] {
            write(digit);
            let tip = ObjectId::from_hex(digit.repeat(40).as_bytes()).expect("hex");
            for number in 0..500 {
                let name = format!("refs/heads/{number}");
                let update = RefUpdate {
                    name: name.as_str().into(),
                    expected: Some(tip),
                    new: tip,
                };
                assert_eq!(obstacle(&mut packed, &update), None);
            }
            assert_eq!(packed.reads, reads);
        }
    }
}

//! Git's fsck for one object: a pure function from an object's bytes to its first fault.
//!
//! The rules are those of git's `fsck.c`; [`FsckRules`] lists the differences.
//!
//! A blob needs a check only if a tree names it `.gitmodules` or `.gitattributes`, and a pack may have the blob before that
//! tree. So the check of a tree records such blobs in [`Special`], and they are checked after all trees.

mod dot_names;
mod git_config;
mod gitmodules;
mod headers;
mod person;
mod report;
mod submodule_url;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;

use gix::{ObjectId, object::Kind, oid};

pub(crate) use report::FsckFinding;

use crate::{
    FsckLevel, FsckMessage, FsckRules,
    object::{commit::tree_and_parents, tag::tag_target},
};
use git_config::up_to_nul;
use report::{FirstError, Report};

/// `ATTR_MAX_FILE_SIZE` in git's `attr.h`, in bytes.
const MAX_ATTRIBUTES: usize = 100 * 1024 * 1024;
/// `ATTR_MAX_LINE_LENGTH` in git's `attr.h`, in bytes.
const MAX_ATTRIBUTES_LINE: usize = 2048;

/// The rules applied to objects of one format.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fsck<'a> {
    pub(crate) rules: &'a FsckRules,
    hash: gix::hash::Kind,
}

/// The blobs that trees name `.gitmodules` and `.gitattributes`, in any spelling that a file system takes for these
/// names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Special(HashSet<(ObjectId, SpecialFile)>);

/// The most such blobs in a pack. Large repositories have some thousands in all of their history.
pub(crate) const MAX_SPECIAL: usize = 100_000;

/// The special file that git reads a blob as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SpecialFile {
    Modules,
    Attributes,
}

/// The content behind the id of a [`SpecialFile`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum SpecialContent<'a> {
    Blob(&'a [u8]),
    /// A blob that is too large to be read.
    TooLarge,
    OtherKind,
    Missing,
}

impl<'a> Fsck<'a> {
    pub(crate) fn new(rules: &'a FsckRules, hash: gix::hash::Kind) -> Self {
        Fsck { rules, hash }
    }

    /// Finds the first fault of an object that the rules call an error.
    pub(crate) fn object(
        &self,
        kind: Kind,
        id: &oid,
        data: &[u8],
        special: &mut Special,
    ) -> Result<(), FsckFinding> {
        if kind == Kind::Blob {
            return Ok(());
        }
        let mut report = FirstError::new(self.rules, id);
        self.check(kind, data, special, &mut report);
        report.into_result()
    }

    /// Whether git can parse an object without findings. This is required under any rules, because an object that git
    /// cannot parse makes its commands fail for the whole repository.
    pub(crate) fn can_be_parsed(&self, kind: Kind, id: &oid, data: &[u8]) -> bool {
        match kind {
            Kind::Blob => true,
            Kind::Commit => tree_and_parents(data, self.hash, &mut Vec::new()).is_some(),
            Kind::Tag => tag_target(data, self.hash).is_some(),
            Kind::Tree => {
                let rejects_bad_trees = self.rules.level(FsckMessage::BadTree) == FsckLevel::Error;
                let was_parsed = rejects_bad_trees && !self.rules.skips(id);
                was_parsed || tree::can_be_parsed(data, self.hash.len_in_bytes())
            }
        }
    }

    /// Whether these entries, which replace others of the same names in a sound tree, leave it sound. `false` if that
    /// takes a look at the whole tree.
    pub(crate) fn are_ids_sound<'e>(&self, entries: impl Iterator<Item = &'e [u8]>) -> bool {
        tree::are_ids_sound(entries, self.hash.len_in_bytes())
    }

    fn check(&self, kind: Kind, data: &[u8], special: &mut Special, report: &mut impl Report) {
        let id_len = self.hash.len_in_bytes();
        let _ = match kind {
            Kind::Tree => {
                return tree::check(data, id_len, self.rules.max_name, special, report);
            }
            Kind::Commit => headers::commit(data, id_len, report),
            Kind::Tag => headers::tag(data, id_len, report),
            Kind::Blob => return,
        };
    }

    /// Finds the first fault of a blob that a tree names as `file`.
    pub(crate) fn special_blob(
        &self,
        id: &oid,
        file: SpecialFile,
        content: SpecialContent<'_>,
    ) -> Result<(), FsckFinding> {
        let mut report = FirstError::new(self.rules, id);
        check_special(file, content, &mut report);
        report.into_result()
    }
}

fn check_special(file: SpecialFile, content: SpecialContent<'_>, report: &mut impl Report) {
    use FsckMessage::*;
    let (name, missing, other, large) = match file {
        SpecialFile::Modules => (
            ".gitmodules",
            GitmodulesMissing,
            GitmodulesBlob,
            GitmodulesLarge,
        ),
        SpecialFile::Attributes => (
            ".gitattributes",
            GitattributesMissing,
            GitattributesBlob,
            GitattributesLarge,
        ),
    };
    let _ = match content {
        SpecialContent::Missing => {
            report.report(missing, format_args!("unable to read {name} blob"))
        }
        SpecialContent::OtherKind => report.report(other, format_args!("non-blob found at {name}")),
        SpecialContent::TooLarge => report.report(large, format_args!("{name} too large to parse")),
        SpecialContent::Blob(data) => match file {
            SpecialFile::Modules => return gitmodules::check(data, report),
            SpecialFile::Attributes if data.len() > MAX_ATTRIBUTES => {
                report.report(large, format_args!("{name} too large to parse"))
            }
            SpecialFile::Attributes if has_long_line(data) => report.report(
                GitattributesLineLength,
                format_args!("{name} has too long lines to parse"),
            ),
            SpecialFile::Attributes => return,
        },
    };
}

/// Whether a `.gitattributes` has a line that is too long, up to the first NUL byte: git reads no further.
fn has_long_line(attributes: &[u8]) -> bool {
    let mut lines = up_to_nul(attributes).split(|byte| *byte == b'\n');
    lines.any(|line| line.len() >= MAX_ATTRIBUTES_LINE)
}

impl Special {
    /// Records a blob. A single tree can name any number of them, so no more are kept than show that they are too many.
    fn insert(&mut self, file: SpecialFile, id: &[u8]) {
        if self.len() <= MAX_SPECIAL {
            let id = ObjectId::try_from(id).expect("an id of this length");
            self.0.insert((id, file));
        }
    }

    /// The number of files.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the blobs that another thread has recorded.
    pub(crate) fn merge(&mut self, other: Special) {
        self.0.extend(other.0);
    }

    /// The blobs to check, sorted.
    pub(crate) fn into_files(self) -> Vec<(ObjectId, SpecialFile)> {
        let mut files: Vec<_> = self.0.into_iter().collect();
        files.sort_unstable();
        files
    }
}

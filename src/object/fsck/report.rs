//! The findings of an fsck check, and the types that receive them.

use std::{fmt, ops::ControlFlow};

use gix::{ObjectId, oid};

use super::{FsckLevel, FsckMessage, FsckRules};

/// A fault of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FsckFinding {
    /// The object.
    pub(crate) object: ObjectId,
    /// The fault, by git's name.
    pub(crate) message: FsckMessage,
    /// The fault, in words that are safe to print. They hold no URL.
    pub(crate) detail: String,
}

impl FsckFinding {
    /// The change to the rules that lets the object in, in words.
    pub(crate) fn remedy(&self) -> String {
        if self.message.can_be_ignored() {
            format!(
                "let in by rules that ignore {} or skip this object",
                self.message
            )
        } else {
            "let in by rules that skip this object".to_owned()
        }
    }
}

impl fmt::Display for FsckFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FsckFinding {
            object,
            message,
            detail,
        } = self;
        write!(f, "object {object}: {message}: {detail}")
    }
}

/// A receiver of the findings of a check.
pub(super) trait Report {
    /// Whether to go on: git reads no further in a commit or tag with an error.
    fn report(&mut self, message: FsckMessage, detail: fmt::Arguments<'_>) -> ControlFlow<()>;
}

/// Keeps the first finding that is an error.
pub(super) struct FirstError<'a> {
    rules: &'a FsckRules,
    object: &'a oid,
    found: Option<FsckFinding>,
}

impl<'a> FirstError<'a> {
    pub(super) fn new(rules: &'a FsckRules, object: &'a oid) -> Self {
        FirstError {
            rules,
            object,
            found: None,
        }
    }

    pub(super) fn into_result(self) -> Result<(), FsckFinding> {
        match self.found {
            Some(finding) => Err(finding),
            None => Ok(()),
        }
    }
}

impl Report for FirstError<'_> {
    fn report(&mut self, message: FsckMessage, detail: fmt::Arguments<'_>) -> ControlFlow<()> {
        if self.rules.level(message) != FsckLevel::Error || self.rules.skips(self.object) {
            return ControlFlow::Continue(());
        }
        self.found.get_or_insert_with(|| FsckFinding {
            object: self.object.to_owned(),
            message,
            detail: detail.to_string(),
        });
        ControlFlow::Break(())
    }
}

/// The most of somebody else's bytes that is shown.
const MAX_SHOWN: usize = 200;

/// Bytes from an object, made safe to print: quoted, on one line, of bounded length.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(MAX_SHOWN)];
        write!(f, "{:?}", bstr::BStr::new(shown))?;
        if shown.len() < self.0.len() {
            f.write_str("...")?;
        }
        Ok(())
    }
}

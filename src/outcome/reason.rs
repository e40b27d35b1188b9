//! The reasons for which a ref was left alone: a table with one row for each.

use std::fmt;

use bstr::{BStr, BString, ByteSlice as _};

use crate::text::Escaped;

/// The facts that a reason follows from: while they stay the same, the next run repeats the rejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// The two tips.
    Tips,
    /// The two tips, and the objects that the source has behind its tip. They may be large, so they are not
    /// requested again while the tips are the same.
    SourceObjects,
    /// The two tips, and the tag policy, the fsck rules or the limits on the size of one object.
    TipsAndRules,
    /// The state of the ends during the run: the next run decides again.
    Run,
}

/// Makes an enum of reasons, their codes, their texts and the parser of these from one table.
///
/// A row is the variant with its detail, if it has one; its code; and `rests on` with the [`Basis`],
/// if that is not [`Basis::Run`]. Codes have no colon.
macro_rules! reasons {
    (
        $(#[$about:meta])*
        $name:ident {
            $(
                $(#[$doc:meta])*
                $variant:ident $({ $(#[$field_doc:meta])* $field:ident: $type:ty })?
                    = $code:literal $(rests on $basis:ident)?;
            )*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant $({ $(#[$field_doc])* $field: $type })?,)*
            /// A reason that this version does not know, read from the stats of a later version.
            Other {
                /// The whole text of the reason.
                text: String,
            },
        }

        impl $name {
            /// The [code](Self::code) of every reason but [`Other`](Self::Other), in the order of the
            /// table in README.md.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// The fixed phrase that the text of the reason begins with.
            pub fn code(&self) -> &str {
                match self {
                    $(Self::$variant $({ $field: _ })? => $code,)*
                    Self::Other { text } => split(text).0,
                }
            }

            fn detail(&self) -> Option<&BStr> {
                match self {
                    $(Self::$variant $({ $field })? => reasons!(@detail $($field)?),)*
                    Self::Other { text } => split(text).1.map(|detail| detail.as_bytes().as_bstr()),
                }
            }

            #[allow(dead_code, reason = "filter reasons follow from the listings of each run")]
            pub(super) fn basis(&self) -> Basis {
                match self {
                    $(Self::$variant $({ $field: _ })? => reasons!(@basis $($basis)?),)*
                    Self::Other { .. } => Basis::Run,
                }
            }

            /// Reads what [`Display`](fmt::Display) wrote.
            #[cfg(feature = "serde")]
            pub(super) fn parse(text: &str) -> Self {
                let (code, detail) = split(text);
                let _detail = detail.unwrap_or_default();
                match code {
                    $($code => Self::$variant $({ $field: _detail.into() })?,)*
                    _ => Self::Other { text: text.to_owned() },
                }
            }
        }

        /// The code, followed by `: ` and the details if there are any. Control characters and bidirectional
        /// overrides are escaped. The JSON has the same text.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Escaped(self.code().as_bytes().as_bstr()))?;
                self.detail()
                    .map_or(Ok(()), |detail| write!(f, ": {}", Escaped(detail)))
            }
        }
    };
    (@detail) => { None };
    (@detail $field:ident) => { Some($field.as_bytes().as_bstr()) };
    (@basis) => { Basis::Run };
    (@basis $basis:ident) => { Basis::$basis };
}

reasons! {
    /// The reason for which a ref was rejected.
    Reason {
        /// The source's tip is an ancestor of the destination's.
        DestinationAhead = "destination ahead" rests on Tips;
        /// Neither tip is an ancestor of the other.
        Diverged = "diverged" rests on Tips;
        /// The relation of the tips is unknown: shallow, missing or corrupt history.
        HistoryUnknown = "history unknown";
        /// The source does not have the destination's tip, so their relation is unknown. Pull first.
        DestinationUnknown = "destination unknown";
        /// The source's branch does not point to a commit.
        NotACommit = "not a commit" rests on Tips;
        /// The tag exists with another target, and moving it is not a fast-forward between commits.
        TagExists = "tag exists" rests on TipsAndRules;
        /// The name cannot exist beside another ref's, for example `a` beside `a/b`.
        NameConflict {
            /// The full name of the other ref.
            with: BString
        } = "name conflict";
        /// The destination's ref changed during the run.
        Raced = "raced";
        /// The branch is checked out in a worktree of the destination.
        CheckedOut = "checked out";
        /// The source lists this tip but does not send it.
        Unavailable {
            /// The source's message, made safe to print.
            detail: String
        } = "unavailable";
        /// The objects that the source sent for this tip are not all of its history, or are damaged.
        Incomplete {
            /// The object at fault, and its fault.
            detail: String
        } = "incomplete" rests on SourceObjects;
        /// Git's fsck refuses an object that the source sent for this tip. See
        /// [`FsckRules`](crate::FsckRules).
        Faulty {
            /// The object, git's message id for its fault, and the rules that would accept it.
            detail: String
        } = "faulty" rests on TipsAndRules;
        /// An object that the source sent for this tip is larger than one object may be. See
        /// [`Limits::object_size`](crate::Limits::object_size).
        TooLarge {
            /// The object, its size and the limit: `OBJECT, N bytes, limit object_size M`.
            detail: String
        } = "too large" rests on TipsAndRules;
        /// The destination could not write this ref.
        NotWritten {
            /// The message of the operating system.
            detail: String
        } = "not written";
        /// The destination, a remote, refused to update this ref: a hook, a protected branch.
        Remote {
            /// The remote's message, made safe to print.
            text: String
        } = "remote";
        /// The destination, most often a remote, did not report the status of this ref, and the ref is not at the
        /// source's tip now. The update may still be in progress there.
        Unconfirmed {
            /// The fault of its answer.
            detail: String
        } = "unconfirmed";
    }
}

reasons! {
    /// The reason for which a ref takes no part in syncs.
    FilterReason {
        /// Git does not allow the name (git-check-ref-format(1)).
        InvalidName = "invalid name";
        /// The ref is a symbolic ref at one of the ends.
        SymbolicRef = "symbolic ref";
        /// The name is too long for the destination.
        NameTooLong = "name too long";
        /// The globs exclude it.
        Excluded = "excluded";
    }
}

/// The code and the details in the text of a reason.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(": ") {
        Some((code, detail)) => (code, Some(detail)),
        None => (text, None),
    }
}

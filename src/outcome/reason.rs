//! The reasons for which a ref was left alone: one row of a table each.

use std::fmt;

use bstr::{BStr, BString, ByteSlice as _};

use crate::text::Escaped;

/// The facts that a reason rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// The two tips: as long as neither moves, the reason holds.
    Tips,
    /// The two tips, and what the source has of the history behind its own. That may be large, so it
    /// is not asked for again as long as the tips are the same.
    SourceObjects,
    /// The two tips, and the tag policy, the fsck rules or the limits on the size of one object.
    TipsAndRules,
    /// The state of the ends while the run was under way.
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
            /// A reason that this version does not know, read from stats that a later one wrote.
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

            #[allow(dead_code, reason = "what is filtered follows from the listings, in each run anew")]
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

        /// The code, followed by `: ` and the particulars if there are any, with characters that could
        /// play tricks on a terminal as their codes. This is also the JSON.
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
        /// Each side has commits that the other one lacks.
        Diverged = "diverged" rests on Tips;
        /// Ancestry can't be known: shallow, missing or corrupt history.
        HistoryUnknown = "history unknown";
        /// The destination's tip is not in the source, so nobody knows how they relate. Pull first.
        DestinationUnknown = "destination unknown";
        /// A branch has to point to a commit, and the source's does not.
        NotACommit = "not a commit" rests on Tips;
        /// The tag exists with another target, and moving it is no fast-forward between commits.
        TagExists = "tag exists" rests on TipsAndRules;
        /// The name can't exist beside another one, for example `a` beside `a/b`.
        NameConflict {
            /// The full name of the ref in the way.
            with: BString
        } = "name conflict";
        /// The destination's ref changed while the run was under way.
        Raced = "raced";
        /// The branch is checked out in a worktree of the destination.
        CheckedOut = "checked out";
        /// The source lists this tip but doesn't hand it out.
        Unavailable {
            /// The source's own words, made safe to print.
            detail: String
        } = "unavailable";
        /// The objects that the source sent for this tip are not all of its history, or not what they
        /// claim to be.
        Incomplete {
            /// The object at fault, and its fault.
            detail: String
        } = "incomplete" rests on SourceObjects;
        /// Git's fsck objects to something that the source sent for this tip. See
        /// [`FsckRules`](crate::FsckRules).
        Faulty {
            /// The object, git's name for what is wrong with it, and the rules that let it in.
            detail: String
        } = "faulty" rests on TipsAndRules;
        /// Something that the source sent for this tip is larger than one object may be. See
        /// [`Limits::object_size`](crate::Limits::object_size).
        TooLarge {
            /// The object, its size and the limit: `OBJECT, N bytes, limit object_size M`.
            detail: String
        } = "too large" rests on TipsAndRules;
        /// The destination could not write this ref.
        NotWritten {
            /// The system's words.
            detail: String
        } = "not written";
        /// The destination, a remote, refused to update this ref: a hook, a protected branch.
        Remote {
            /// The remote's own words, made safe to print.
            text: String
        } = "remote";
        /// The destination, a remote, did not say what became of this ref, and does not have the
        /// source's tip now. The update may still be under way there.
        Unconfirmed {
            /// The fault of its answer.
            detail: String
        } = "unconfirmed";
    }
}

reasons! {
    /// The reason for which a ref takes no part in syncs.
    FilterReason {
        /// Git doesn't allow the name.
        InvalidName = "invalid name";
        /// The ref is a symbolic ref at one of the ends.
        SymbolicRef = "symbolic ref";
        /// The destination can't hold a name this long.
        NameTooLong = "name too long";
        /// The globs exclude it.
        Excluded = "excluded";
    }
}

/// The code in the text of a reason, and what comes behind it.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(": ") {
        Some((code, detail)) => (code, Some(detail)),
        None => (text, None),
    }
}

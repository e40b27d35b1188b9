//! The messages of git's fsck, and their levels.
//!
//! The messages are those of git's `fsck.h`, described in git-fsck(1). Their levels are those of `git index-pack --strict`,
//! which makes errors of git's warnings.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind};

/// The level of a message: what a fault does to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsckLevel {
    /// The object is accepted.
    Ignore,
    /// The object is accepted. Git prints a warning; refsync prints nothing.
    Warn,
    /// The object is refused, and the refs that need it are rejected.
    Error,
}

macro_rules! messages {
    ($($(#[$doc:meta])+ $id:ident = $name:literal, $level:ident;)+) => {
        /// A fault of an object, with git's message id ("FSCK MESSAGES" in git-fsck(1)).
        ///
        /// Git's messages about refs are left out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FsckMessage {
            $($(#[$doc])+ $id,)+
        }

        /// In the order of the enum.
        const MESSAGES: &[(FsckMessage, &str, FsckLevel)] =
            &[$((FsckMessage::$id, $name, FsckLevel::$level),)+];
    };
}

messages! {
    /// A NUL byte in the header of a commit or tag.
    NulInHeader = "nulInHeader", Error;
    /// The last header line of a commit or tag has no end.
    UnterminatedHeader = "unterminatedHeader", Error;
    /// A date that isn't a number.
    BadDate = "badDate", Error;
    /// A date beyond what the system can hold.
    BadDateOverflow = "badDateOverflow", Error;
    /// An email without its closing `>`.
    BadEmail = "badEmail", Error;
    /// A cut off signature header in a tag.
    BadGpgsig = "badGpgsig", Error;
    /// A cut off continuation of a tag's signature header.
    BadHeaderContinuation = "badHeaderContinuation", Error;
    /// A `>` in a name.
    BadName = "badName", Error;
    /// A tag whose `object` line holds no id.
    BadObjectSha1 = "badObjectSha1", Error;
    /// A commit with a `parent` line that holds no id.
    BadParentSha1 = "badParentSha1", Error;
    /// A time zone that isn't a sign and four digits.
    BadTimezone = "badTimezone", Error;
    /// A tree that can't be parsed.
    BadTree = "badTree", Error;
    /// A commit whose `tree` line holds no id.
    BadTreeSha1 = "badTreeSha1", Error;
    /// A tag of an unknown kind of object.
    BadType = "badType", Error;
    /// A tree that has a name twice.
    DuplicateEntries = "duplicateEntries", Error;
    /// Something else than a blob is named `.gitattributes`.
    GitattributesBlob = "gitattributesBlob", Error;
    /// A `.gitattributes` of more than 100 MiB.
    GitattributesLarge = "gitattributesLarge", Error;
    /// A `.gitattributes` with a line of 2,048 bytes or more.
    GitattributesLineLength = "gitattributesLineLength", Error;
    /// The blob of a `.gitattributes` isn't there.
    GitattributesMissing = "gitattributesMissing", Error;
    /// Something else than a blob is named `.gitmodules`.
    GitmodulesBlob = "gitmodulesBlob", Error;
    /// A `.gitmodules` that is too large to read.
    GitmodulesLarge = "gitmodulesLarge", Error;
    /// The blob of a `.gitmodules` isn't there.
    GitmodulesMissing = "gitmodulesMissing", Error;
    /// A submodule's name is empty or leads out of its folder.
    GitmodulesName = "gitmodulesName", Error;
    /// A submodule's path looks like an option of a command.
    GitmodulesPath = "gitmodulesPath", Error;
    /// `.gitmodules` is a symbolic link.
    GitmodulesSymlink = "gitmodulesSymlink", Error;
    /// A submodule's `update` is a command.
    GitmodulesUpdate = "gitmodulesUpdate", Error;
    /// A submodule's URL looks like an option of a command, or hides a line break.
    GitmodulesUrl = "gitmodulesUrl", Error;
    /// A commit without an author.
    MissingAuthor = "missingAuthor", Error;
    /// A commit without a committer.
    MissingCommitter = "missingCommitter", Error;
    /// No email in a line that names a person.
    MissingEmail = "missingEmail", Error;
    /// No name in a line that names a person.
    MissingNameBeforeEmail = "missingNameBeforeEmail", Error;
    /// A tag without an `object` line.
    MissingObject = "missingObject", Error;
    /// No space between email and date.
    MissingSpaceBeforeDate = "missingSpaceBeforeDate", Error;
    /// No space between name and email.
    MissingSpaceBeforeEmail = "missingSpaceBeforeEmail", Error;
    /// A cut off `tag` line.
    MissingTag = "missingTag", Error;
    /// A tag without a `tag` line.
    MissingTagEntry = "missingTagEntry", Error;
    /// A commit without a `tree` line.
    MissingTree = "missingTree", Error;
    /// A cut off `type` line.
    MissingType = "missingType", Error;
    /// A tag without a `type` line.
    MissingTypeEntry = "missingTypeEntry", Error;
    /// A commit with more than one author.
    MultipleAuthors = "multipleAuthors", Error;
    /// A tree that isn't in order.
    TreeNotSorted = "treeNotSorted", Error;
    /// An object of an unknown kind.
    UnknownType = "unknownType", Error;
    /// A date that starts with a zero.
    ZeroPaddedDate = "zeroPaddedDate", Error;
    /// A tree entry without a name.
    EmptyName = "emptyName", Error;
    /// A tree entry with a `/` in its name.
    FullPathname = "fullPathname", Error;
    /// A tree entry named `.`.
    HasDot = "hasDot", Error;
    /// A tree entry named `..`.
    HasDotdot = "hasDotdot", Error;
    /// A tree entry that some file system takes for `.git`.
    HasDotgit = "hasDotgit", Error;
    /// A tree entry with a name of more than 4,096 bytes, or more than [`FsckRules::set`](crate::FsckRules::set) allows.
    LargePathname = "largePathname", Error;
    /// A tree entry with the null id.
    NullSha1 = "nullSha1", Error;
    /// A NUL byte in a commit's message.
    NulInCommit = "nulInCommit", Error;
    /// A tree entry whose mode starts with a zero.
    ZeroPaddedFilemode = "zeroPaddedFilemode", Error;
    /// A tree entry with a mode that git doesn't write.
    BadFilemode = "badFilemode", Warn;
    /// A tag with a name that is not a valid ref name.
    BadTagName = "badTagName", Warn;
    /// `.gitattributes` is a symbolic link.
    GitattributesSymlink = "gitattributesSymlink", Warn;
    /// `.gitignore` is a symbolic link.
    GitignoreSymlink = "gitignoreSymlink", Warn;
    /// A `.gitmodules` that can't be parsed to its end.
    GitmodulesParse = "gitmodulesParse", Warn;
    /// `.mailmap` is a symbolic link.
    MailmapSymlink = "mailmapSymlink", Warn;
    /// A tag without a tagger, as early ones are.
    MissingTaggerEntry = "missingTaggerEntry", Warn;
    /// A tag with more headers than it should have.
    ExtraHeaderEntry = "extraHeaderEntry", Ignore;
}

pub(super) const MESSAGE_COUNT: usize = MESSAGES.len();

/// The messages that are ignored by default: frequent in old history and harmless. The large forges accept such
/// objects, and git reads them.
const TOLERATED: [FsckMessage; 3] = [
    FsckMessage::BadTimezone,
    FsckMessage::MissingSpaceBeforeDate,
    FsckMessage::ZeroPaddedFilemode,
];

impl FsckMessage {
    /// All messages.
    pub fn all() -> impl Iterator<Item = FsckMessage> {
        MESSAGES.iter().map(|&(message, ..)| message)
    }

    /// Git's message id, as in `fetch.fsck.<msg-id>`: `hasDotgit`.
    pub fn name(self) -> &'static str {
        MESSAGES[self as usize].1
    }

    /// The level with `git index-pack --strict`, which `fetch.fsckObjects` runs.
    pub(super) fn strict_level(self) -> FsckLevel {
        MESSAGES[self as usize].2
    }

    pub(super) fn default_level(self) -> FsckLevel {
        if TOLERATED.contains(&self) {
            FsckLevel::Ignore
        } else {
            self.strict_level()
        }
    }

    /// Whether a level other than [`FsckLevel::Error`] can be set.
    pub(crate) fn can_be_ignored(self) -> bool {
        // Git calls these two fatal.
        !matches!(
            self,
            FsckMessage::NulInHeader | FsckMessage::UnterminatedHeader
        )
    }
}

impl fmt::Display for FsckMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses git's message id, in any case.
impl FromStr for FsckMessage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        FsckMessage::all()
            .find(|message| message.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| invalid(format!("there is no fsck message {name:?} about objects")))
    }
}

/// Parses git's `error`, `warn` and `ignore`.
impl FromStr for FsckLevel {
    type Err = Error;

    fn from_str(level: &str) -> Result<Self, Error> {
        match level {
            "error" => Ok(FsckLevel::Error),
            "warn" => Ok(FsckLevel::Warn),
            "ignore" => Ok(FsckLevel::Ignore),
            _ => Err(invalid(format!(
                "the level of a fsck message is error, warn or ignore, not {level:?}"
            ))),
        }
    }
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOptions, message)
}

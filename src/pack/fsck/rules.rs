//! What git's fsck can say, how bad it is, and who may say otherwise.
//!
//! The messages and their severity are those of git's `fsck.h`, described in git-fsck(1).

use std::{collections::HashSet, fmt, str::FromStr};

use gix::ObjectId;

use crate::{Error, ErrorKind};

/// How much a message weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FsckLevel {
    /// The object is taken.
    Ignore,
    /// The object is taken. Git prints a warning; nobody is told here.
    Warn,
    /// The object is refused, and everything that needs it.
    Error,
}

/// Git's own severities: how a message weighs unless it is set to something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    /// An error that can't be made less.
    Fatal,
    Error,
    /// An error for what comes from elsewhere: `git index-pack --strict` promotes it.
    Warn,
    Info,
    Unset,
}

macro_rules! messages {
    ($($(#[$doc:meta])+ $id:ident = $name:literal, $severity:ident;)+) => {
        /// What can be wrong with an object, by git's names ("FSCK MESSAGES" in git-fsck(1)).
        ///
        /// Git's messages about refs have no place here: they aren't about objects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FsckMessage {
            $($(#[$doc])+ $id,)+
        }

        /// In the order of the enum.
        const MESSAGES: &[(FsckMessage, &str, Severity)] =
            &[$((FsckMessage::$id, $name, Severity::$severity),)+];
    };
}

messages! {
    /// A NUL byte in the header of a commit or tag.
    NulInHeader = "nulInHeader", Fatal;
    /// The last header line of a commit or tag has no end.
    UnterminatedHeader = "unterminatedHeader", Fatal;
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
    EmptyName = "emptyName", Warn;
    /// A tree entry with a `/` in its name.
    FullPathname = "fullPathname", Warn;
    /// A tree entry named `.`.
    HasDot = "hasDot", Warn;
    /// A tree entry named `..`.
    HasDotdot = "hasDotdot", Warn;
    /// A tree entry that some file system takes for `.git`.
    HasDotgit = "hasDotgit", Warn;
    /// A tree entry with a name of more than 4,096 bytes, or what [`FsckRules::set`] says.
    LargePathname = "largePathname", Warn;
    /// A tree entry with the null id.
    NullSha1 = "nullSha1", Warn;
    /// A NUL byte in a commit's message.
    NulInCommit = "nulInCommit", Warn;
    /// A tree entry whose mode starts with a zero.
    ZeroPaddedFilemode = "zeroPaddedFilemode", Warn;
    /// A tree entry with a mode that git doesn't write.
    BadFilemode = "badFilemode", Info;
    /// A tag with a name that isn't one for a ref.
    BadTagName = "badTagName", Info;
    /// `.gitattributes` is a symbolic link.
    GitattributesSymlink = "gitattributesSymlink", Info;
    /// `.gitignore` is a symbolic link.
    GitignoreSymlink = "gitignoreSymlink", Info;
    /// A `.gitmodules` that can't be parsed to its end.
    GitmodulesParse = "gitmodulesParse", Info;
    /// `.mailmap` is a symbolic link.
    MailmapSymlink = "mailmapSymlink", Info;
    /// A tag without a tagger, as early ones are.
    MissingTaggerEntry = "missingTaggerEntry", Info;
    /// A tag with more headers than it should have.
    ExtraHeaderEntry = "extraHeaderEntry", Unset;
}

impl FsckMessage {
    /// All of them.
    pub fn all() -> impl Iterator<Item = FsckMessage> {
        MESSAGES.iter().map(|&(message, ..)| message)
    }

    /// Git's name for it, as it stands behind `fetch.fsck.`: `hasDotgit`.
    pub fn name(self) -> &'static str {
        MESSAGES[self as usize].1
    }

    fn severity(self) -> Severity {
        MESSAGES[self as usize].2
    }

    /// What `git index-pack --strict` makes of it, which is what `fetch.fsckObjects` runs.
    fn default_level(self) -> FsckLevel {
        match self.severity() {
            Severity::Fatal | Severity::Error | Severity::Warn => FsckLevel::Error,
            Severity::Info => FsckLevel::Warn,
            Severity::Unset => FsckLevel::Ignore,
        }
    }
}

impl fmt::Display for FsckMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By git's name, in any case.
impl FromStr for FsckMessage {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        FsckMessage::all()
            .find(|message| message.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| invalid(format!("there is no fsck message {name:?} about objects")))
    }
}

/// Git's words: `error`, `warn` and `ignore`.
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

/// Which objects are taken from elsewhere, by the rules of git's fsck.
///
/// The default is what git refuses with `fetch.fsckObjects`. Where that is too much for a history
/// that has its sins behind it, a message can be set to another level, as `fetch.fsck.<msg-id>` does,
/// or single objects be let pass, as those in `fetch.fsck.skipList`:
///
/// ```
/// use refsync::{FsckLevel, FsckMessage, FsckRules};
///
/// let mut rules = FsckRules::default();
/// assert_eq!(rules.level(FsckMessage::ZeroPaddedFilemode), FsckLevel::Error);
/// rules.set("zeroPaddedFilemode", "ignore")?;
/// rules.skip = FsckRules::parse_skip_list("0123456789abcdef0123456789abcdef01234567 # from 2005\n")?;
/// # Ok::<_, refsync::Error>(())
/// ```
///
/// # Where it differs from git
/// It is stricter in three places, where git means to refuse and doesn't:
/// - A tag with a malformed tagger is refused whatever follows. Git forgets about it if another
///   header does (`extraHeaderEntry`).
/// - A `.gitmodules` that starts with a byte order mark is read, as git does when it uses the file.
///   Git's fsck takes it for one that can't be parsed, which is no error, and sees none of it.
/// - The byte 0xff in a `.gitmodules` is a byte like others, as for git when it uses the file. On
///   many platforms git's fsck takes it for the end.
///
/// What git can't parse is refused whatever the level of its message, and skipped or not: a commit that
/// ends with its `tree` line, say. To git that is the same: it wouldn't get as far as to the rules.
///
/// And a `gpgsig` header of a tag is no `extraHeaderEntry`, as for git since 2.52.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckRules {
    /// Objects that are taken whatever is wrong with them.
    pub skip: HashSet<ObjectId>,
    levels: [FsckLevel; MESSAGES.len()],
    max_name: usize,
}

/// `max_tree_entry_len` in git's `fsck.c`, in bytes.
const MAX_NAME: usize = 4096;

impl Default for FsckRules {
    fn default() -> Self {
        let mut levels = [FsckLevel::Ignore; MESSAGES.len()];
        for message in FsckMessage::all() {
            levels[message as usize] = message.default_level();
        }
        FsckRules {
            skip: HashSet::new(),
            levels,
            max_name: MAX_NAME,
        }
    }
}

impl FsckRules {
    /// Take every object that git can parse, as it does without `fetch.fsckObjects`.
    ///
    /// Trees that hold `.git`, or submodules that run commands, then reach whoever checks them out.
    pub fn none() -> Self {
        FsckRules {
            levels: [FsckLevel::Ignore; MESSAGES.len()],
            ..FsckRules::default()
        }
    }

    /// What `message` weighs.
    pub fn level(&self, message: FsckMessage) -> FsckLevel {
        self.levels[message as usize]
    }

    /// Makes `message` weigh something else.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOptions`] for one that is fatal to git (`nulInHeader`,
    /// `unterminatedHeader`) and any level but [`FsckLevel::Error`].
    pub fn set_level(&mut self, message: FsckMessage, level: FsckLevel) -> Result<(), Error> {
        if message.severity() == Severity::Fatal && level != FsckLevel::Error {
            return Err(invalid(format!("{message} is always an error")));
        }
        self.levels[message as usize] = level;
        Ok(())
    }

    /// The same in git's words: the name of `fetch.fsck.<name>` and its value.
    ///
    /// The level of `largePathname` may be followed by a colon and the length in bytes that is too
    /// much for a name: `warn:1k`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOptions`] for a name or a value that git doesn't know, and as
    /// [`set_level`](FsckRules::set_level).
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let message: FsckMessage = name.parse()?;
        let Some((level, max_name)) = value.split_once(':') else {
            return self.set_level(message, value.parse()?);
        };
        if message != FsckMessage::LargePathname {
            return Err(invalid(format!("{message} has a level and nothing more")));
        }
        let max_name = parse_length(max_name)
            .ok_or_else(|| invalid(format!("{max_name:?} is not a length for {message}")))?;
        self.set_level(message, level.parse()?)?;
        self.max_name = max_name;
        Ok(())
    }

    /// Reads a list of objects for [`skip`](FsckRules::skip) from the text of a file as
    /// `fetch.fsck.skipList` names one: an id a line, in full, and `#` for the rest of a line that is
    /// a comment.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOptions`] for a line that holds anything else.
    pub fn parse_skip_list(text: &str) -> Result<HashSet<ObjectId>, Error> {
        let ids = text.lines().map(|line| match line.split_once('#') {
            Some((id, _comment)) => id.trim(),
            None => line.trim(),
        });
        let parse = |id: &str| {
            ObjectId::from_hex(id.as_bytes())
                .map_err(|_| invalid(format!("{id:?} in a list of objects to skip is not an id")))
        };
        ids.filter(|id| !id.is_empty()).map(parse).collect()
    }

    /// The longest name that is no `largePathname`, in bytes.
    pub(super) fn max_name(&self) -> usize {
        self.max_name
    }

    /// Whether there is nothing to look for.
    pub(crate) fn is_none(&self) -> bool {
        self.levels.iter().all(|level| *level != FsckLevel::Error)
    }
}

impl fmt::Debug for FsckRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set =
            FsckMessage::all().filter(|message| self.level(*message) != message.default_level());
        f.debug_struct("FsckRules")
            .field("skip", &self.skip.len())
            .field(
                "set",
                &set.map(|message| (message, self.level(message)))
                    .collect::<Vec<_>>(),
            )
            .field("max_name", &self.max_name)
            .finish()
    }
}

/// Bytes, with git's units.
fn parse_length(text: &str) -> Option<usize> {
    let (digits, unit) = match text.split_at_checked(text.len().checked_sub(1)?)? {
        (digits, "k" | "K") => (digits, 1024),
        (digits, "m" | "M") => (digits, 1024 * 1024),
        (digits, "g" | "G") => (digits, 1024 * 1024 * 1024),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOptions, message)
}

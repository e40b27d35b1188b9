//! The rules of git's fsck that a run goes by, and the levels of its messages.

use std::{collections::HashSet, fmt};

use gix::ObjectId;

use crate::Error;

mod message;

pub use message::{FsckLevel, FsckMessage};
use message::{MESSAGE_COUNT, invalid};

/// Which objects are taken from elsewhere, by the rules of git's fsck.
///
/// The default is what git refuses with `fetch.fsckObjects`, but for three old sins that real history
/// is full of and that harm nobody: `badTimezone`, `missingSpaceBeforeDate` and `zeroPaddedFilemode`
/// are ignored. [`strict()`](FsckRules::strict) refuses these, too. A message can be set to another
/// level, as `fetch.fsck.<msg-id>` does, or single objects be let pass, as those in
/// `fetch.fsck.skipList`:
///
/// ```
/// use refsync::{FsckLevel, FsckMessage, FsckRules};
///
/// let mut rules = FsckRules::default();
/// assert_eq!(rules.level(FsckMessage::ZeroPaddedFilemode), FsckLevel::Ignore);
/// assert_eq!(rules.level(FsckMessage::MissingSpaceBeforeEmail), FsckLevel::Error);
/// rules.set("missingSpaceBeforeEmail", "ignore")?;
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
    levels: [FsckLevel; MESSAGE_COUNT],
    max_name: usize,
}

/// `max_tree_entry_len` in git's `fsck.c`, in bytes.
const MAX_NAME: usize = 4096;

impl Default for FsckRules {
    fn default() -> Self {
        FsckRules::with_levels(FsckMessage::default_level)
    }
}

impl FsckRules {
    /// Git's own levels: exactly what it refuses with `fetch.fsckObjects`.
    pub fn strict() -> Self {
        FsckRules::with_levels(FsckMessage::strict_level)
    }

    /// Take every object that git can parse, as it does without `fetch.fsckObjects`.
    ///
    /// Trees that hold `.git`, or submodules that run commands, then reach whoever checks them out.
    pub fn none() -> Self {
        FsckRules::with_levels(|_| FsckLevel::Ignore)
    }

    fn with_levels(level_of: impl Fn(FsckMessage) -> FsckLevel) -> Self {
        let mut levels = [FsckLevel::Ignore; MESSAGE_COUNT];
        for message in FsckMessage::all() {
            levels[message as usize] = level_of(message);
        }
        FsckRules {
            skip: HashSet::new(),
            levels,
            max_name: MAX_NAME,
        }
    }

    /// The level of `message`.
    pub fn level(&self, message: FsckMessage) -> FsckLevel {
        self.levels[message as usize]
    }

    /// Makes `message` weigh something else.
    ///
    /// # Errors
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for one that is fatal to git (`nulInHeader`,
    /// `unterminatedHeader`) and any level but [`FsckLevel::Error`].
    pub fn set_level(&mut self, message: FsckMessage, level: FsckLevel) -> Result<(), Error> {
        if !message.can_be_ignored() && level != FsckLevel::Error {
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
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for a name or a value that git doesn't know, and as
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
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for a line that holds anything else.
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
    pub(crate) fn max_name(&self) -> usize {
        self.max_name
    }

    /// All of the rules, in the same words for equal ones.
    pub(crate) fn canonical_text(&self) -> String {
        let levels =
            FsckMessage::all().map(|message| format!("{message} {:?}\n", self.level(message)));
        let mut skip: Vec<_> = self.skip.iter().collect();
        skip.sort();
        let skip = skip.into_iter().map(|id| format!("skip {id}\n"));
        let length = format!("length {}\n", self.max_name);
        levels.chain(skip).chain([length]).collect()
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

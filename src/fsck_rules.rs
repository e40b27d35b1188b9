//! [`FsckRules`]: the levels of git's fsck messages for one run, and the objects that are exempt.

use std::{collections::HashSet, fmt};

use crate::{Error, ObjectId};

mod message;

pub use message::{FsckLevel, FsckMessage};
use message::{MESSAGE_COUNT, invalid};

/// The rules of git's fsck for received objects.
///
/// By default a run refuses the objects that git refuses with `fetch.fsckObjects`, except for three harmless
/// faults that are frequent in old history: `badTimezone`, `missingSpaceBeforeDate` and `zeroPaddedFilemode` are
/// ignored. [`strict()`](FsckRules::strict) refuses these as well. A message can be set to another level, as by
/// `fetch.fsck.<msg-id>`, and single objects can be exempt, as by `fetch.fsck.skipList`:
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
/// # Differences from git
/// refsync is stricter in three cases that git intends to refuse and does not:
/// - A tag with a malformed tagger is refused whatever follows it. Git drops that error if another
///   header follows (`extraHeaderEntry`).
/// - A `.gitmodules` that starts with a byte order mark is checked, because git skips the mark when it uses the
///   file. Git's fsck fails to parse such a file, which is not an error, and checks nothing of it.
/// - The byte 0xff in a `.gitmodules` is an ordinary byte, as it is when git uses the file. On many platforms git's
///   fsck takes it for the end of the file.
///
/// An object that git cannot parse is refused at any level and even if it is skipped, for example a commit that
/// ends after its `tree` line. Git fails on such an object before it applies the rules.
///
/// A `gpgsig` header of a tag is not an `extraHeaderEntry`, as in git since 2.52.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckRules {
    /// Objects that are accepted whatever their faults (`fetch.fsck.skipList`).
    pub skip: HashSet<ObjectId>,
    levels: [FsckLevel; MESSAGE_COUNT],
    /// The length in bytes above which a name is a `largePathname`.
    pub(crate) max_name: usize,
}

/// `max_tree_entry_len` in git's `fsck.c`, in bytes.
const MAX_NAME: usize = 4096;

impl Default for FsckRules {
    fn default() -> Self {
        FsckRules::with_levels(FsckMessage::default_level)
    }
}

impl FsckRules {
    /// Git's own levels: refuses exactly the objects that git refuses with `fetch.fsckObjects`.
    pub fn strict() -> Self {
        FsckRules::with_levels(FsckMessage::strict_level)
    }

    /// Accepts every object that git can parse, as git does without `fetch.fsckObjects`.
    ///
    /// Trees that contain `.git` and submodules that run commands are then passed on to later clones.
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

    /// Sets the level of `message`.
    ///
    /// # Errors
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for a message that git calls fatal (`nulInHeader`,
    /// `unterminatedHeader`) and a level other than [`FsckLevel::Error`].
    pub fn set_level(&mut self, message: FsckMessage, level: FsckLevel) -> Result<(), Error> {
        if !message.can_be_ignored() && level != FsckLevel::Error {
            return Err(invalid(format!("{message} is always an error")));
        }
        self.levels[message as usize] = level;
        Ok(())
    }

    /// Sets a level by the name and the value of git's option `fetch.fsck.<name>`.
    ///
    /// The level of `largePathname` may be followed by a colon and the longest length of a name in bytes:
    /// `warn:1k`.
    ///
    /// # Errors
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for a name or a value that git does not know, and in the
    /// cases of [`set_level`](FsckRules::set_level).
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

    /// Parses the text of a file in the format of `fetch.fsck.skipList`, for [`skip`](FsckRules::skip): one full
    /// object id per line; `#` starts a comment.
    ///
    /// # Errors
    /// [`InvalidOptions`](crate::ErrorKind::InvalidOptions) for any other line.
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

    /// Whether an object is taken whatever is wrong with it.
    pub(crate) fn skips(&self, id: &gix::oid) -> bool {
        self.skip.contains(&ObjectId(id.to_owned()))
    }

    /// A text of all rules that is the same for equal rules.
    pub(crate) fn canonical_text(&self) -> String {
        let levels =
            FsckMessage::all().map(|message| format!("{message} {:?}\n", self.level(message)));
        let mut skip: Vec<_> = self.skip.iter().collect();
        skip.sort();
        let skip = skip.into_iter().map(|id| format!("skip {id}\n"));
        let length = format!("length {}\n", self.max_name);
        levels.chain(skip).chain([length]).collect()
    }

    /// Whether the rules refuse nothing.
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

/// A number of bytes with one of git's units `k`, `m` and `g`.
fn parse_length(text: &str) -> Option<usize> {
    let (digits, unit) = match text.split_at_checked(text.len().checked_sub(1)?)? {
        (digits, "k" | "K") => (digits, 1024),
        (digits, "m" | "M") => (digits, 1024 * 1024),
        (digits, "g" | "G") => (digits, 1024 * 1024 * 1024),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

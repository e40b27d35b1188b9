//! The fsck rules, from the command line.

use std::{fs, path::Path};

use clap::ValueEnum;
use refsync::{Error, ErrorKind, FsckLevel, FsckRules};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    /// Git's own levels
    Strict,
    /// The same without badTimezone, missingSpaceBeforeDate and zeroPaddedFilemode
    Default,
    /// Any object that git can read
    Off,
}

pub(crate) fn rules(
    level: Level,
    ignored: &[String],
    skip_list: Option<&Path>,
) -> Result<FsckRules, Error> {
    let mut rules = match level {
        Level::Strict => FsckRules::strict(),
        Level::Default => FsckRules::default(),
        Level::Off => FsckRules::none(),
    };
    for id in ignored {
        rules.set_level(id.parse()?, FsckLevel::Ignore)?;
    }
    if let Some(path) = skip_list {
        let text = fs::read_to_string(path).map_err(|err| {
            let unreadable = format!("{} can't be read", path.display());
            Error::new(ErrorKind::InvalidOptions, unreadable).with_source(err)
        })?;
        rules.skip = FsckRules::parse_skip_list(&text)?;
    }
    Ok(rules)
}

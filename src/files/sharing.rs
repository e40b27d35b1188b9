//! File modes of a repository that several users share: git's `core.sharedRepository`, as in
//! `setup.c:git_config_perm()` and `path.c:adjust_shared_perm()`.

use std::{fs, io, path::Path};

use bstr::{BStr, ByteSlice};

use crate::{Error, ErrorKind};

const GROUP: u32 = 0o660;
const EVERYBODY: u32 = 0o664;
/// The mode bit of a directory whose new files get its group.
const SETGID: u32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0o2000
} else {
    0
};

/// The file modes of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sharing {
    /// The umask decides.
    #[default]
    Umask,
    /// These bits are added to the mode that the umask leaves.
    Added(u32),
    /// These bits are the mode, independent of the umask.
    Stated(u32),
}

impl Sharing {
    pub(crate) fn of(config: &gix::config::Snapshot<'_>) -> Result<Self, Error> {
        const KEY: &str = "core.sharedRepository";
        match config.string(KEY) {
            Some(value) => Sharing::parse(value.as_bstr()).ok_or_else(|| {
                let text = format!("{KEY} is {value:?}: git takes no such mode");
                Error::new(ErrorKind::Unsupported, text)
            }),
            // A key without a value means `true`.
            None if config.boolean(KEY) == Some(true) => Ok(Sharing::Added(GROUP)),
            None => Ok(Sharing::Umask),
        }
    }

    /// `None` for a value that git refuses.
    fn parse(value: &BStr) -> Option<Self> {
        match value.as_bytes() {
            b"umask" | b"" => return Some(Sharing::Umask),
            b"group" => return Some(Sharing::Added(GROUP)),
            b"all" | b"world" | b"everybody" => return Some(Sharing::Added(EVERYBODY)),
            _ => {}
        }
        let octal = value.to_str().ok().map(|text| u32::from_str_radix(text, 8));
        match octal {
            Some(Ok(0)) => Some(Sharing::Umask),
            Some(Ok(1)) => Some(Sharing::Added(GROUP)),
            Some(Ok(2)) => Some(Sharing::Added(EVERYBODY)),
            Some(Ok(mode)) if mode & 0o600 == 0o600 => Some(Sharing::Stated(mode & 0o666)),
            Some(Ok(_)) => None,
            _ if gix::config::Boolean::try_from(value).ok()?.is_true() => {
                Some(Sharing::Added(GROUP))
            }
            _ => Some(Sharing::Umask),
        }
    }

    /// The mode of a file or directory that was made with `mode`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "nothing has a mode there"))]
    fn mode(self, mode: u32, is_directory: bool) -> u32 {
        let (mut bits, kept) = match self {
            Sharing::Umask => return mode,
            Sharing::Added(bits) => (bits, mode),
            Sharing::Stated(bits) => (bits, mode & !0o777),
        };
        if mode & 0o200 == 0 {
            bits &= !0o222;
        }
        if mode & 0o100 != 0 {
            bits |= (bits & 0o444) >> 2;
        }
        let mode = kept | bits;
        if !is_directory {
            return mode;
        }
        let mode = mode | (mode & 0o444) >> 2;
        // The group matters only if it has any permission.
        if mode & 0o060 == 0 {
            mode
        } else {
            mode | SETGID
        }
    }

    /// Sets the mode of the file or directory at `path`.
    #[cfg(unix)]
    pub(crate) fn apply(self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        if self == Sharing::Umask {
            return Ok(());
        }
        let found = path.metadata()?;
        let before = found.permissions().mode() & 0o7777;
        let after = self.mode(before, found.is_dir());
        if before == after {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(after))
    }

    #[cfg(not(unix))]
    pub(crate) fn apply(self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn create_dir(self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        self.apply(path)
    }

    /// Makes the missing directories of `path`.
    pub(crate) fn create_dir_all(self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        match self.create_dir(path) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            created => created,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_git_reads_them() {
        for (value, expected) in [
            ("umask", Some(Sharing::Umask)),
            ("0", Some(Sharing::Umask)),
            ("false", Some(Sharing::Umask)),
            ("group", Some(Sharing::Added(0o660))),
            ("true", Some(Sharing::Added(0o660))),
            ("1", Some(Sharing::Added(0o660))),
            ("all", Some(Sharing::Added(0o664))),
            ("world", Some(Sharing::Added(0o664))),
            ("everybody", Some(Sharing::Added(0o664))),
            ("2", Some(Sharing::Added(0o664))),
            ("0660", Some(Sharing::Stated(0o660))),
            ("0640", Some(Sharing::Stated(0o640))),
            ("0777", Some(Sharing::Stated(0o666))),
            ("0440", None),
            ("nonsense", None),
        ] {
            assert_eq!(Sharing::parse(value.into()), expected, "{value}");
        }
    }

    #[test]
    fn named_values_add_to_the_umask_and_octal_ones_replace_it() {
        let (file, directory) = (false, true);
        for (sharing, made, kind, expected) in [
            (Sharing::Umask, 0o640, file, 0o640),
            (Sharing::Added(0o660), 0o644, file, 0o664),
            (Sharing::Added(0o660), 0o600, file, 0o660),
            (Sharing::Added(0o660), 0o444, file, 0o444),
            (Sharing::Added(0o664), 0o600, file, 0o664),
            (Sharing::Stated(0o660), 0o644, file, 0o660),
            (Sharing::Stated(0o640), 0o444, file, 0o440),
            (Sharing::Stated(0o600), 0o755, directory, 0o700),
            (Sharing::Added(0o660), 0o755, directory, 0o775 | SETGID),
            (Sharing::Added(0o660), 0o700, directory, 0o770 | SETGID),
            (Sharing::Stated(0o660), 0o755, directory, 0o770 | SETGID),
        ] {
            assert_eq!(sharing.mode(made, kind), expected, "{sharing:?} {made:o}");
        }
    }
}

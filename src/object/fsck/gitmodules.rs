//! `fsck_gitmodules_fn()` of git's `fsck.c`: the check of a `.gitmodules` for values that attack later clones.

use bstr::ByteSlice;

use super::{
    FsckMessage::*,
    git_config::{self, Event},
    report::{Quoted, Report},
    submodule_url,
};

/// The section that a variable is in.
struct Submodule {
    name: Vec<u8>,
    /// The key of all its variables, if the name of the section says so.
    key: Option<Vec<u8>>,
    is_checked: bool,
}

pub(super) fn check(gitmodules: &[u8], report: &mut impl Report) {
    let mut current = None;
    let parsed = git_config::parse(gitmodules, |event| match event {
        Event::Section(section) => current = Submodule::of(section),
        Event::Variable(key, value) => {
            if let Some(submodule) = &mut current {
                submodule.check(key, value, report);
            }
        }
    });
    if parsed.is_err() {
        let detail = format_args!("could not parse gitmodules blob");
        let _ = report.report(GitmodulesParse, detail);
    }
}

impl Submodule {
    /// Parses a variable's full name as `parse_config_key()` of git's `config.c` does. As in C that
    /// ends at its first NUL byte, which may come before the name of the variable.
    fn of(section: &[u8]) -> Option<Self> {
        let of = |name: &[u8], key: Option<&[u8]>| Submodule {
            name: name.to_owned(),
            key: key.map(<[u8]>::to_owned),
            is_checked: false,
        };
        let rest = section.strip_prefix(b"submodule.")?;
        match rest.split_once_str(b"\0") {
            None => Some(of(rest, None)),
            Some((cut_off, _)) => {
                let (name, key) = cut_off.rsplit_once_str(b".")?;
                Some(of(name, Some(key)))
            }
        }
    }

    fn check(&mut self, key: &[u8], value: Option<&[u8]>, report: &mut impl Report) {
        let name = Quoted(&self.name);
        // Checked at the first variable, as git checks a name for each variable: a section without one is ignored.
        if !self.is_checked && !is_allowed_name(&self.name) {
            let _ = report.report(
                GitmodulesName,
                format_args!("disallowed submodule name: {name}"),
            );
        }
        self.is_checked = true;
        if let Some(value) = value {
            let key = self.key.as_deref().unwrap_or(key);
            check_value(name, key, value, report);
        }
    }
}

fn check_value(name: Quoted<'_>, key: &[u8], value: &[u8], report: &mut impl Report) {
    let _ = match key {
        // The text does not contain the URL, which may have a password in it.
        b"url" if !submodule_url::is_allowed(value) => report.report(
            GitmodulesUrl,
            format_args!("disallowed url of submodule {name}"),
        ),
        b"path" if value.starts_with(b"-") => report.report(
            GitmodulesPath,
            format_args!("disallowed submodule path: {}", Quoted(value)),
        ),
        b"update" if value.starts_with(b"!") => report.report(
            GitmodulesUpdate,
            format_args!("disallowed submodule update setting: {}", Quoted(value)),
        ),
        _ => return,
    };
}

/// `check_submodule_name()` of git's `submodule-config.c`: the name becomes a path.
fn is_allowed_name(name: &[u8]) -> bool {
    let mut components = name.split(|byte| matches!(byte, b'/' | b'\\'));
    !name.is_empty() && components.all(|component| component != b"..")
}

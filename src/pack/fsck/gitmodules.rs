//! `fsck_gitmodules_fn()` of git's `fsck.c`: what a `.gitmodules` may not ask of whoever clones it.

use super::{
    FsckMessage::*,
    git_config,
    report::{Quoted, Report},
    submodule_url,
};

pub(super) fn check(gitmodules: &[u8], report: &mut impl Report) {
    let parsed = git_config::parse(gitmodules, |name, value| {
        if let Some((submodule, key)) = submodule_and_key(name) {
            check_variable(submodule, key, value, report);
        }
    });
    if parsed.is_err() {
        let _ = report.report(
            GitmodulesParse,
            format_args!("could not parse gitmodules blob"),
        );
    }
}

/// `parse_config_key()` of git's `config.c` for the section `submodule`.
fn submodule_and_key(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = name.strip_prefix(b"submodule.")?;
    let dot = rest.iter().rposition(|byte| *byte == b'.')?;
    Some((&rest[..dot], &rest[dot + 1..]))
}

fn check_variable(submodule: &[u8], key: &[u8], value: Option<&[u8]>, report: &mut impl Report) {
    let name = Quoted(submodule);
    if !is_allowed_name(submodule) {
        let detail = format_args!("disallowed submodule name: {name}");
        let _ = report.report(GitmodulesName, detail);
    }
    let Some(value) = value else {
        return;
    };
    let _ = match key {
        // The URL itself isn't shown: it may hold a password.
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

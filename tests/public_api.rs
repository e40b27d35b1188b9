//! The snapshot of the public API, which `.ci/run` compares with the code.

use std::collections::BTreeSet;

/// A new major version of each of these is one of refsync, so they are few: gix is not among them.
#[test]
fn types_of_few_other_crates_are_in_the_public_api() {
    let api = include_str!("../docs/public-api.txt");
    assert!(api.contains("pub fn refsync::sync("));
    let is_in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let paths = api.split(|c| !is_in_path(c));
    let crates = paths.filter_map(|path| Some(path.split_once("::")?.0));
    // `Self::Item`, and the `:` in front of a type.
    let crates = crates.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    let crates: BTreeSet<_> = crates.collect();
    let of_std = ["alloc", "core", "std"];
    let known = ["bstr", "refsync", "rustls", "serde_core"];
    assert_eq!(crates, of_std.into_iter().chain(known).collect());
}

//! The README and other documents, compared with the code.

use refsync::{FilterReason, Reason};

#[test]
fn the_outcome_table_has_every_reason_in_its_words() {
    let rejected = Reason::CODES.iter().map(|code| ("rejected", *code));
    let filtered = FilterReason::CODES.iter().map(|code| ("filtered", *code));
    let expected: Vec<_> = rejected
        .chain(filtered)
        .map(|(outcome, code)| (outcome.to_owned(), code.to_owned()))
        .collect();
    assert_eq!(rows(include_str!("../README.md")), expected);
}

#[test]
fn the_minimum_rust_version_is_that_of_the_manifest() {
    let version = env!("CARGO_PKG_RUST_VERSION");
    let sentence = format!("The minimum supported Rust version is {version}.\n");
    assert!(include_str!("../README.md").contains(&sentence));
}

/// So that the figures can be measured again, and pasted.
#[test]
fn the_table_of_speed_is_what_the_bench_prints() {
    let source = concat!(
        include_str!("../benches/support/report.rs"),
        include_str!("../benches/peers/ancestry.rs"),
        include_str!("../benches/peers/pulls.rs"),
        include_str!("../benches/peers/pushes.rs"),
    );
    let texts: Vec<_> = source.split('"').skip(1).step_by(2).collect();
    let (header, rows) = speed(include_str!("../BENCHMARKS.md"));
    assert!(texts.contains(&header), "{header}");
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let (work, _) = row
            .trim_start_matches("| ")
            .split_once(" | ")
            .expect("cells");
        let is_named = |text: &&&str| text.len() > 5 && work.starts_with(**text);
        assert!(texts.iter().any(|text| is_named(&text)), "{work}");
    }
}

/// The README has a few of the rows, as they are in the long table.
#[test]
fn the_rows_of_speed_in_the_readme_are_those_of_the_long_table() {
    let (long_header, all) = speed(include_str!("../BENCHMARKS.md"));
    let (header, rows) = speed(include_str!("../README.md"));
    assert_eq!(header, long_header);
    assert_eq!(rows.len(), 6);
    for row in rows {
        assert!(all.contains(&row), "{row}");
    }
}

/// The header and the rows of the table of speed.
fn speed(document: &str) -> (&str, Vec<&str>) {
    let lines = document.lines();
    let mut table = lines.skip_while(|line| !line.starts_with("| work |"));
    let header = table.next().expect("a table");
    let rows = table.skip(1).take_while(|line| line.starts_with('|'));
    (header, rows.collect())
}

/// The outcome and the reason of each row of the table that has a reason.
fn rows(readme: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let (rest, reason) = line.strip_suffix("` |")?.rsplit_once(" | `")?;
        let (_, outcome) = rest.rsplit_once(" | ")?;
        Some((outcome.to_owned(), reason.to_owned()))
    };
    readme.lines().filter_map(row).collect()
}

/// A threat that is said to be tested is.
#[test]
fn every_path_in_security_md_exists() {
    let paths = quoted(include_str!("../SECURITY.md"));
    let paths = paths.filter(|path| path.starts_with("src/") || path.starts_with("tests/"));
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(exists(path), "{path}");
    }
}

/// Files of `src/` are named from there, and on the page of how a pack is made from its folder.
#[test]
fn every_path_in_the_architecture_exists() {
    let words = quoted(include_str!("../docs/architecture.md"));
    let paths = words.filter(|word| word.contains('/') || word.ends_with(".rs"));
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 50, "{paths:?}");
    for path in paths {
        let mut folders = ["", "src/", "src/pack_objects/"].into_iter();
        let is_in = |folder| exists(&format!("{folder}{path}"));
        assert!(folders.any(is_in), "{path}");
    }
}

#[test]
fn every_file_in_the_table_of_memory_exists() {
    let lines = include_str!("../src/memory_plan.rs").lines();
    let rows = lines.filter(|line| line.starts_with("/// |"));
    let files: Vec<_> = rows.flat_map(quoted).collect();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        // `folder/{one,other}` names two files.
        let (folder, names) = file.split_once('{').unwrap_or(("", file));
        for name in names.trim_end_matches('}').split(',') {
            let path = format!("src/{folder}{name}");
            assert!(exists(&path) || exists(&format!("{path}.rs")), "{path}");
        }
    }
}

/// The words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| !word.contains(char::is_whitespace))
}

fn exists(path: &str) -> bool {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join(path).exists()
}

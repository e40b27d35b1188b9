//! The README, compared with the code.

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
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|path| path.starts_with("src/") || path.starts_with("tests/"));
    let paths: Vec<_> = paths.collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        assert!(root.join(path).exists(), "{path}");
    }
}

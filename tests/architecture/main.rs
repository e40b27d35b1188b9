//! The order of the rooms in `src`, as `docs/architecture.md` draws it, and the limits of the house:
//! no circle of files, no large room, no long file, no long function.
//!
//! An arrow counts from file to file, by `use` or by a path in the code, through re-exports to the
//! file that defines the item. A child that names its parent module and test code do not count.

mod arrows;
mod limits;
mod modules;
mod paths;
mod rooms;
mod tests;

use std::{collections::BTreeSet, fs, path::Path};

use arrows::Arrows;
use rooms::Rooms;

/// Arrows, rooms, files and functions that the house still has to get rid of. The list may only shrink.
const KNOWN: &str = include_str!("known.txt");

#[test]
fn dependencies_point_down_in_no_circle_and_nothing_is_long() {
    let found = violations();
    let known: BTreeSet<_> = KNOWN.lines().map(String::from).collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "not in known.txt: {new:#?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "take these out of known.txt: {gone:#?}");
}

#[test]
fn every_file_has_a_room_and_every_room_has_a_file() {
    let files = modules::read_sources();
    let rooms = Rooms::of_the_document();
    let homeless: Vec<_> = files
        .keys()
        .filter(|file| rooms.of(file).is_none())
        .collect();
    assert!(
        homeless.is_empty(),
        "not in docs/architecture.md: {homeless:?}"
    );
    let is_empty = |room: &&String| !files.keys().any(|file| rooms::holds(room, file));
    let empty: Vec<_> = rooms.names().iter().filter(is_empty).collect();
    assert!(empty.is_empty(), "in docs/architecture.md alone: {empty:?}");
}

#[test]
fn docs_begin_with_a_noun_or_a_verb() {
    let found = limits::pronoun_docs(&modules::read_sources());
    assert!(found.is_empty(), "{found:#?}");
}

/// The list that `known.txt` should be, and each circle. By hand:
/// `cargo test --test architecture -- --ignored --nocapture report`
#[test]
#[ignore = "prints what is left to do"]
#[expect(clippy::print_stdout, reason = "that is its purpose")]
fn report() {
    let arrows = Arrows::of(&modules::read_sources());
    for circle in arrows.circles() {
        println!("circle of {} files: {}", circle.len(), circle.join(" "));
        for (from, to) in arrows.within(&circle) {
            println!("    {from} -> {to}");
        }
    }
    for line in violations() {
        println!("{line}");
    }
    for doc in limits::pronoun_docs(&modules::read_sources()) {
        println!("{doc}");
    }
}

/// Writes `known.txt` anew, after a move. By hand, and only to make it shorter:
/// `cargo test --test architecture -- --ignored rewrite_known`
#[test]
#[ignore = "writes a file of the repository"]
fn rewrite_known() {
    let lines: String = violations()
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/architecture/known.txt");
    fs::write(path, lines).expect("known.txt can be written");
}

/// Every upward arrow, every file that is in a circle, every room that is too large, and every file and function that
/// is too long.
fn violations() -> BTreeSet<String> {
    let sources = modules::read_sources();
    let arrows = Arrows::of(&sources);
    let rooms = Rooms::of_the_document();
    let upward = arrows.upward(&rooms).into_iter();
    let upward = upward.map(|(from, to)| format!("up {from} -> {to}"));
    let circles = arrows.circles().into_iter().flatten();
    upward
        .chain(circles.map(|file| format!("circle {file}")))
        .chain(limits::large_rooms(&sources, &rooms))
        .chain(limits::too_long(&sources))
        .collect()
}

//! The architecture test itself, on houses of a few lines.

use crate::{arrows::Arrows, limits, modules::Sources, rooms::Rooms};

fn house(files: &[(&str, &str)]) -> Sources {
    let files = files.iter();
    files
        .map(|(file, text)| (file.to_string(), text.to_string()))
        .collect()
}

fn rooms() -> Rooms {
    Rooms::parse("```\nlib.rs  the top\nroof/\nground/\ncellar.rs\n```\n")
}

/// A house whose ground floor has this code, as upward arrows and circles.
fn judge(ground: &str) -> (Vec<String>, Vec<String>) {
    let files = house(&[
        (
            "lib.rs",
            "mod roof; mod ground; mod cellar; pub use roof::Tile; pub use cellar::Wine;",
        ),
        (
            "roof/mod.rs",
            "mod tile; pub use tile::{Tile, lay}; pub struct Beam;",
        ),
        (
            "roof/tile.rs",
            "use super::Beam; use crate::{cellar::Wine, ground}; pub struct Tile; pub fn lay() \
             { ground::walk() }",
        ),
        ("ground/mod.rs", ground),
        ("cellar.rs", "pub struct Wine;"),
    ]);
    let arrows = Arrows::of(&files);
    let rooms = rooms();
    let upward = arrows.upward(&rooms).into_iter();
    let upward = upward.map(|(from, to)| format!("{from} -> {to}")).collect();
    let circles = arrows.circles();
    (
        upward,
        circles.into_iter().map(|circle| circle.join(" ")).collect(),
    )
}

#[test]
fn arrows_down_are_fine() {
    let fine = (vec![], vec![]);
    assert_eq!(judge("pub fn walk() {}"), fine);
    assert_eq!(judge("use crate::Wine; pub fn walk() {}"), fine);
    assert_eq!(
        judge("use std::fmt; pub fn walk() { fmt::format(); }"),
        fine
    );
}

#[test]
fn a_turned_arrow_is_found_wherever_it_is_written() {
    let upward = vec![String::from("ground/mod.rs -> roof/tile.rs")];
    for code in [
        "use crate::roof::Tile;",
        "use crate::roof::{Tile as Slate};",
        "use crate::Tile;",
        "use super::Tile;",
        "fn f() { crate::roof::lay() }",
        "fn f(_: &crate::Tile) {}",
        "fn f() { println!(\"{}\", crate::roof::lay()) }",
        "fn f() { use crate::Tile; }",
        "impl From<crate::Tile> for u8 {}",
        "mod inner { fn f() { super::super::roof::lay() } }",
        "#[cfg(not(test))] use crate::Tile;",
    ] {
        let (found, circles) = judge(&format!("{code} pub fn walk() {{}}"));
        assert_eq!(found, upward, "{code}");
        assert_eq!(circles, ["ground/mod.rs roof/tile.rs"], "{code}");
    }
    // A module that is brought in is an arrow to its file, and so is the item that is named by it.
    let (found, _) = judge("use crate::roof; pub fn walk() { roof::lay() }");
    assert_eq!(
        found,
        [
            "ground/mod.rs -> roof/mod.rs",
            "ground/mod.rs -> roof/tile.rs"
        ]
    );
}

#[test]
fn an_item_that_a_macro_makes_has_a_file() {
    let files = house(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::Made; pub struct A;"),
        (
            "b.rs",
            "use crate::a::A; macro_rules! make { () => { pub enum Made {} } } make!();",
        ),
    ]);
    assert_eq!(Arrows::of(&files).circles(), [["a.rs", "b.rs"]]);
}

#[test]
fn test_code_does_not_count() {
    let fine = (vec![], vec![]);
    for code in [
        "#[cfg(test)] use crate::Tile;",
        "#[cfg(any(test, fuzzing))] mod tests { use crate::Tile; }",
        "#[cfg(test)] fn f(_: &crate::Tile) {}",
        "struct S; impl S { #[cfg(test)] fn f(_: &crate::Tile) {} }",
    ] {
        assert_eq!(judge(&format!("{code} pub fn walk() {{}}")), fine, "{code}");
    }
}

#[test]
fn a_circle_within_a_room_is_found_and_a_parent_is_none() {
    let files = house(&[
        ("lib.rs", "mod a;"),
        (
            "a.rs",
            "mod b; mod c; pub struct A; pub use b::B; pub use c::C;",
        ),
        ("a/b.rs", "use super::{A, C}; pub struct B;"),
        ("a/c.rs", "use crate::a::{A, B}; pub struct C;"),
    ]);
    assert_eq!(Arrows::of(&files).circles(), [["a/b.rs", "a/c.rs"]]);
}

#[test]
fn a_file_belongs_to_the_innermost_room() {
    let rooms = Rooms::parse("```text\na/\na/b/\na/b/c.rs\n```");
    assert_eq!(rooms.of("a/x.rs"), Some(0));
    assert_eq!(rooms.of("a/b/x.rs"), Some(1));
    assert_eq!(rooms.of("a/b/c.rs"), Some(2));
    assert_eq!(rooms.of("ab.rs"), None);
}

#[test]
fn a_room_above_a_tenth_is_found_and_its_tests_do_not_count() {
    let large_with = |roof: usize| {
        let roof = "struct A;\n".repeat(roof);
        let files = house(&[
            ("lib.rs", "mod roof;\nmod cellar;\n"),
            (
                "roof/mod.rs",
                &format!("{roof}\n// No code.\n#[cfg(test)]\nmod tests {{\n{roof}}}\n"),
            ),
            ("cellar.rs", &"struct A;\n".repeat(16)),
        ]);
        limits::large_rooms(&files, &rooms())
    };
    assert_eq!(large_with(2), ["large cellar.rs"]);
    assert_eq!(large_with(3), ["large roof/", "large cellar.rs"]);
}

#[test]
fn long_files_and_functions_and_pronouns_are_found() {
    let long = format!("fn f() {{\n{}}}\n", "\n".repeat(79));
    let fine = format!("fn f() {{\n{}}}\n", "\n".repeat(78));
    let files = house(&[
        ("a.rs", &long),
        ("b.rs", &fine),
        ("c.rs", &"\n".repeat(451)),
        (
            "d.rs",
            "/// A thing.\n/// What it is.\n/// Whatever.\nfn f() {}\n/// What it is.\nfn g() {}",
        ),
    ]);
    let too_long = ["long a.rs f()", "long c.rs"];
    assert_eq!(limits::too_long(&files), too_long);
    assert_eq!(limits::pronoun_docs(&files), ["d.rs:5: /// What it is."]);
}

//! Which file depends on which.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    modules::{Module, Modules, Sources},
    paths,
    rooms::Rooms,
};

/// The files that each file names.
pub(crate) struct Arrows(BTreeMap<String, BTreeSet<String>>);

impl Arrows {
    pub(crate) fn of(sources: &Sources) -> Self {
        let modules = Modules::parse(sources);
        let mut arrows = Arrows(BTreeMap::new());
        for module in modules.iter() {
            let to = arrows.0.entry(module.file.clone()).or_default();
            for path in paths::named(module) {
                let target = modules.resolve(&module.path, &path);
                let target = target.map(|target| target.module());
                to.extend(
                    target
                        .filter(|to| counts(module, to))
                        .map(|to| to.file.clone()),
                );
            }
        }
        arrows
    }

    /// The arrows from a room to one above it.
    pub(crate) fn upward(&self, rooms: &Rooms) -> Vec<(&str, &str)> {
        let is_upward = |(from, to): &(&str, &str)| rooms.of(to) < rooms.of(from);
        self.iter().filter(is_upward).collect()
    }

    /// The sets of files in which each leads to each other.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> = self
            .0
            .keys()
            .map(|file| (file.as_str(), self.reach(file)))
            .collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &reach {
            if reached.contains(file) {
                let both_ways = |other: &&&str| reach[**other].contains(file);
                let circle: Vec<_> = reached.iter().filter(both_ways).copied().collect();
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    /// The arrows between these files.
    pub(crate) fn within<'a>(
        &'a self,
        files: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.iter()
            .filter(|(from, to)| files.contains(from) && files.contains(to))
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .flat_map(|(from, to)| to.iter().map(|to| (from.as_str(), to.as_str())))
    }

    /// Every file that one or more arrows lead to from `file`.
    fn reach(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = self.0[file].iter().map(String::as_str).collect();
        while let Some(file) = open.pop() {
            if reached.insert(file) {
                open.extend(self.0[file].iter().map(String::as_str));
            }
        }
        reached
    }
}

/// Not within a file, and not from a child to its parent.
fn counts(from: &Module, to: &Module) -> bool {
    let parent = from.path.split_last().map(|(_, parent)| parent);
    from.file != to.file && parent != Some(&to.path)
}

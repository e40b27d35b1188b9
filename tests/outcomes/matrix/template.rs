//! A repository of one situation, of which each pair of ends has a copy.

use super::objects::Objects;
use crate::support::Repo;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Branches by their short names, and whatever else is below `refs/`.
pub(super) fn full_name(name: &str) -> String {
    match name {
        _ if name.starts_with("refs/") => name.to_owned(),
        _ if name.starts_with("tags/") => format!("refs/{name}"),
        _ => format!("refs/heads/{name}"),
    }
}

pub(super) struct Template {
    pub(super) repo: Repo,
    /// By full name; symbolic refs are not among them.
    pub(super) refs: BTreeMap<String, String>,
    /// Behind a ref or not.
    pub(super) objects: BTreeSet<String>,
}

impl Template {
    pub(super) fn new(repo: Repo, objects: &Objects, listed: &str, packed: bool) -> Self {
        let mut refs = BTreeMap::new();
        let mut tips = Vec::new();
        for word in listed.split_whitespace() {
            if let Some((name, target)) = word.split_once("->") {
                let target = format!("ref: {}\n", full_name(target));
                repo.write_ref(&full_name(name), &target);
                continue;
            }
            let (name, object) = word.split_once('=').unwrap_or(("", &word[1..]));
            let id = objects.id(object);
            tips.push(id);
            if !name.is_empty() {
                refs.insert(full_name(name), id.to_owned());
            }
        }
        objects.give(&repo, tips.iter().copied(), packed);
        let listed: Vec<_> = refs.iter().map(|(name, id)| (&**name, &**id)).collect();
        if packed {
            repo.write_packed_refs(&listed);
        } else {
            for (name, id) in listed {
                repo.write_ref(name, id);
            }
        }
        let objects = objects.behind(tips);
        Template {
            repo,
            refs,
            objects,
        }
    }

    pub(super) fn copy(&self, path: &Path) -> Repo {
        self.repo.copy_to(path);
        Repo::at(path)
    }
}

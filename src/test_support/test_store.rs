//! Stores with one pack.

use std::path::PathBuf;

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use tempfile::TempDir;

use super::git_cli;
use crate::{
    fuzzing::made_packs::{Form, Object, pack},
    stored_packs::StoredPacks,
    stored_packs::odb::Odb,
};

/// The objects of a store's pack, in the order of the pack.
#[derive(Default)]
pub(crate) struct TestStore {
    objects: Vec<Object>,
    forms: Vec<Form>,
}

impl TestStore {
    /// Adds a whole object.
    pub(crate) fn add(&mut self, kind: Kind, content: &[u8]) -> ObjectId {
        let object = Object::new(kind, content.to_vec(), HashKind::Sha1);
        let id = object.id;
        self.objects.push(object);
        self.forms.push(Form::Whole);
        id
    }

    /// Adds an object as a delta of one that was added before.
    pub(crate) fn add_on(&mut self, base: ObjectId, kind: Kind, content: &[u8]) -> ObjectId {
        let id = self.add(kind, content);
        let base = self.objects.iter().position(|object| object.id == base);
        let form = self.forms.last_mut().expect("it was added");
        *form = Form::Delta(base.expect("a base"));
        id
    }

    /// Writes the store to disk unchecked: git looks at no more than an index needs.
    pub(crate) fn write(&self) -> (TempDir, StoredPacks, Odb) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        git_cli::git(dir.path(), &["init", "--quiet", "--bare"], b"");
        let pack = pack(&self.objects, &[], &self.forms, HashKind::Sha1);
        git_cli::git(dir.path(), &["index-pack", "--stdin"], &pack);
        let objects: PathBuf = dir.path().join("objects");
        let odb = Odb::at(&objects, HashKind::Sha1).expect("a store");
        let packs = StoredPacks::at(&[objects], HashKind::Sha1).expect("a pack");
        (dir, packs, odb)
    }
}

/// A tree of entries by mode, name and id.
pub(crate) fn tree(entries: &[(&str, &str, ObjectId)]) -> Vec<u8> {
    let entry = |(mode, name, id): &(&str, &str, ObjectId)| {
        [format!("{mode} {name}\0").as_bytes(), id.as_bytes()].concat()
    };
    entries.iter().flat_map(entry).collect()
}

/// The content of a commit.
pub(crate) fn commit(tree: ObjectId, parents: &[ObjectId]) -> Vec<u8> {
    let parents: String = parents
        .iter()
        .map(|parent| format!("parent {parent}\n"))
        .collect();
    format!("tree {tree}\n{parents}author A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n").into_bytes()
}

//! Objects as bytes.

use std::fmt::Display;

use gix::{hash::Kind as Hash, object::Kind};

use super::Object;

/// An id of nothing, made of one byte.
pub(super) fn id_of(byte: u8, hash: Hash) -> Vec<u8> {
    vec![byte; hash.len_in_bytes()]
}

/// The id of an object.
pub(super) fn id((kind, data): &Object, hash: Hash) -> gix::ObjectId {
    gix::objs::compute_hash(hash, *kind, data).expect("no collision")
}

pub(super) fn entry(mode: &str, name: impl AsRef<[u8]>, id: &[u8]) -> Vec<u8> {
    [mode.as_bytes(), b" ", name.as_ref(), b"\0", id].concat()
}

/// A tree of entries of nothing.
pub(super) fn tree(hash: Hash, entries: &[(&str, &[u8])]) -> Object {
    let entry = |(mode, name): &(&str, &[u8])| {
        let byte = if *mode == "40000" { 0x22 } else { 0x11 };
        entry(mode, name, &id_of(byte, hash))
    };
    (Kind::Tree, entries.iter().flat_map(entry).collect())
}

pub(super) const AUTHOR: &str = "author A U Thor <author@example.com> 1112911993 -0700";
pub(super) const COMMITTER: &str = "committer C O Mitter <committer@example.com> 1112911993 +0000";

/// A commit as git writes it.
pub(super) fn commit(hash: Hash) -> String {
    let (tree, parent) = (hex(0x22, hash), hex(0x33, hash));
    format!("tree {tree}\nparent {parent}\n{AUTHOR}\n{COMMITTER}\n\nA message\n")
}

/// A tag as git writes it.
pub(super) fn tag(hash: Hash) -> String {
    let object = hex(0x33, hash);
    format!(
        "object {object}\ntype commit\ntag v1.0\ntagger C O Mitter <c@example.com> 1112911993 +0000\n\nA message\n"
    )
}

pub(super) fn hex(byte: u8, hash: Hash) -> String {
    format!("{byte:02x}").repeat(hash.len_in_bytes())
}

/// A blob, and a tree that holds it under that name.
pub(super) fn named(name: &str, content: impl Into<Vec<u8>>, hash: Hash) -> [Object; 2] {
    let blob = (Kind::Blob, content.into());
    let entry = entry("100644", name, id(&blob, hash).as_slice());
    [blob, (Kind::Tree, entry)]
}

/// A configuration file with that URL.
pub(super) fn module(key: &str, value: impl Display) -> String {
    format!("[submodule \"sub\"]\n\t{key} = {value}\n")
}

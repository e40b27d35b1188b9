//! The contents of objects.

use refsync::ObjectId;

pub(crate) const PERSON: &str = "A U Thor <a@example.com> 1700000000 +0000";

pub(crate) fn tree<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a [u8], ObjectId)>,
) -> Vec<u8> {
    let mut content = Vec::new();
    for (mode, name, id) in entries {
        entry(&mut content, mode, name, &id);
    }
    content
}

pub(crate) fn entry(to: &mut Vec<u8>, mode: &str, name: &[u8], id: &ObjectId) {
    to.extend_from_slice(mode.as_bytes());
    to.push(b' ');
    to.extend_from_slice(name);
    to.push(0);
    to.extend_from_slice(id.as_bytes());
}

pub(crate) fn commit(tree: &ObjectId, parents: &[ObjectId], message: &str) -> Vec<u8> {
    commit_at(tree, parents, 1_700_000_000, message)
}

pub(crate) fn commit_at(
    tree: &ObjectId,
    parents: &[ObjectId],
    date: i64,
    message: &str,
) -> Vec<u8> {
    let mut text = format!("tree {tree}\n");
    for parent in parents {
        text.push_str(&format!("parent {parent}\n"));
    }
    let person = format!("A U Thor <a@example.com> {date} +0000");
    text.push_str(&format!(
        "author {person}\ncommitter {person}\n\n{message}\n"
    ));
    text.into_bytes()
}

pub(crate) fn tag(target: &ObjectId, kind: &str, name: &str) -> Vec<u8> {
    format!("object {target}\ntype {kind}\ntag {name}\ntagger {PERSON}\n\n{name}\n").into_bytes()
}

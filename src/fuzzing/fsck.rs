//! Git's fsck for one object.

use std::collections::BTreeMap;

use bstr::ByteSlice;
use gix::{hash::Kind as HashKind, objs::Kind};

use super::bytes::Bytes;
use crate::{
    FsckLevel, FsckMessage, FsckRules,
    object::fsck::{Fsck, Special, SpecialContent, SpecialFile},
};

/// An object behind a byte for its kind, that of a blob by the name that a tree gives it.
///
/// Stricter rules find no less. What is found is safe to print. A tree that is let in can be read
/// from start to end, in order, and gives no path that leads elsewhere.
pub fn fsck(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let hash = if seed & 8 == 0 {
        HashKind::Sha1
    } else {
        HashKind::Sha256
    };
    let kind = [Kind::Tree, Kind::Commit, Kind::Tag, Kind::Blob][usize::from(seed & 3)];
    let content = bytes.0;
    let id = gix::objs::compute_hash(hash, kind, content).expect("no collision");
    let mut strict = FsckRules::default();
    for message in FsckMessage::all() {
        strict
            .set_level(message, FsckLevel::Error)
            .expect("an error is always right");
    }
    let judge = |rules: &FsckRules| {
        let fsck = Fsck::new(rules, hash);
        let mut special = Special::default();
        let found = match kind {
            Kind::Blob => {
                let file = if seed & 4 == 0 {
                    SpecialFile::Modules
                } else {
                    SpecialFile::Attributes
                };
                fsck.special_blob(&id, file, SpecialContent::Blob(content))
            }
            _ => fsck.object(kind, &id, content, &mut special),
        };
        if let Err(finding) = &found {
            assert_eq!(finding.object, id);
            assert_eq!(rules.level(finding.message), FsckLevel::Error);
            let text = finding.to_string();
            assert!(
                text.len() < 2000 && !text.chars().any(char::is_control),
                "{text:?}"
            );
        }
        (found, special)
    };
    assert!(judge(&FsckRules::none()).0.is_ok());
    let (found, special) = judge(&FsckRules::default());
    let strictly = judge(&strict).0;
    assert!(found.is_ok() || strictly.is_err());
    let mut skipped = strict.clone();
    skipped.skip.insert(crate::ObjectId(id));
    assert!(judge(&skipped).0.is_ok());
    if found.is_err() {
        return;
    }
    match kind {
        Kind::Tree => check_tree(
            content,
            hash,
            &special.into_files().into_iter().collect(),
            strictly.is_ok(),
        ),
        // As the walk for completeness reads them.
        Kind::Commit => {
            let read = gix::objs::CommitRefIter::from_bytes(content, hash).tree_id();
            assert!(read.is_ok());
        }
        Kind::Tag => {
            let read = gix::objs::TagRefIter::from_bytes(content, hash).target_id();
            assert!(read.is_ok());
        }
        Kind::Blob => {}
    }
}

fn check_tree(
    mut content: &[u8],
    hash: HashKind,
    special: &BTreeMap<gix::ObjectId, SpecialFile>,
    is_strict: bool,
) {
    let mut last: Option<Vec<u8>> = None;
    while !content.is_empty() {
        let (mode, rest) = content.split_once_str(" ").expect("a mode");
        let (name, rest) = rest.split_once_str("\0").expect("a name");
        let (id, rest) = rest.split_at(hash.len_in_bytes());
        content = rest;
        assert!(
            mode.iter().all(|digit| (b'0'..=b'7').contains(digit)),
            "{}",
            mode.as_bstr()
        );
        let id = gix::ObjectId::from_bytes_or_panic(id);
        let text = name.to_str_lossy().to_ascii_lowercase();
        assert!(!name.contains(&b'/'));
        assert!(!["", ".", "..", ".git", "git~1"].contains(&text.as_str()));
        // As git tells a directory: by the first bits, whatever the others are.
        let mode_bits = mode
            .iter()
            .fold(0_u32, |bits, digit| bits << 3 | u32::from(digit - b'0'));
        let is_tree = mode_bits & 0o170_000 == 0o40_000;
        if text == ".gitmodules" && !is_tree {
            assert!(special.contains_key(&id));
        }
        let key = if is_tree {
            [name, b"/"].concat()
        } else {
            name.to_vec()
        };
        assert!(last.as_ref().is_none_or(|last| *last < key), "in order");
        last = Some(key);
        if is_strict {
            assert!(!id.is_null() && !mode.starts_with(b"0"));
        }
    }
}

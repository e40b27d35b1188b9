//! Packs made from an input, good ones and bad ones.

use gix::{ObjectId, hash::Kind as HashKind, objs::Kind};
use gix_pack::data::{self, entry::Header};

pub(crate) use super::objects::Object;
use super::{bytes::Bytes, objects::Store};
use crate::pack::{deflate::Deflater, delta_encode::DeltaBase};

/// The form of an object in a pack.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Whole,
    /// A delta of the entry at this place, which comes before.
    Delta(usize),
    DeltaById(ObjectId),
}

/// As `bytes` has it. Objects that are a delta of one that isn't of their kind are put in whole.
pub(super) fn forms(objects: &[Object], known: &[Object], bytes: &mut Bytes<'_>) -> Vec<Form> {
    let mut forms = Vec::new();
    for (at, object) in objects.iter().enumerate() {
        let form = match bytes.byte() {
            0..120 => Form::Whole,
            120..190 => Form::Delta(bytes.below(at)),
            190..230 => Form::DeltaById(objects[bytes.below(objects.len())].id),
            230..254 => match known.get(bytes.below(known.len())) {
                Some(base) => Form::DeltaById(base.id),
                None => Form::Whole,
            },
            _ => Form::DeltaById(ObjectId::from_bytes_or_panic(&vec![
                9;
                object
                    .id
                    .kind()
                    .len_in_bytes()
            ])),
        };
        let mut all = objects.iter().chain(known);
        let fits = match form {
            Form::Whole => true,
            Form::Delta(base) => base < at && objects[base].kind == object.kind,
            Form::DeltaById(id) => all
                .find(|base| base.id == id)
                .is_none_or(|base| base.kind == object.kind),
        };
        forms.push(if fits && !object.content.is_empty() {
            form
        } else {
            Form::Whole
        });
    }
    forms
}

/// The number of entries that lead to a whole object, and the longest way to one.
pub(super) fn resolvable(objects: &[Object], forms: &[Form], store: &Store) -> (usize, u32) {
    let mut depths: Vec<Option<u32>> = vec![None; forms.len()];
    loop {
        let before = depths.clone();
        for (at, form) in forms.iter().enumerate() {
            // Two that the store resolves may lead to each other, too.
            if depths[at].is_some() {
                continue;
            }
            let depth = match form {
                Form::Whole => Some(0),
                Form::Delta(base) => depths[*base].map(|depth| depth + 1),
                Form::DeltaById(id) => {
                    let here = (0..forms.len()).filter(|base| objects[*base].id == *id);
                    let here = here.filter_map(|base| depths[base]).min();
                    here.or(store.contains_key(id).then_some(0))
                        .map(|depth| depth + 1)
                }
            };
            depths[at] = depth;
        }
        if before == depths {
            let known: Vec<_> = depths.into_iter().flatten().collect();
            return (known.len(), known.iter().copied().max().unwrap_or(0));
        }
    }
}

pub(crate) fn pack(
    objects: &[Object],
    known: &[Object],
    forms: &[Form],
    hash: HashKind,
) -> Vec<u8> {
    let mut pack = data::header::encode(data::Version::V2, objects.len() as u32).to_vec();
    let mut starts = Vec::new();
    for (object, form) in objects.iter().zip(forms) {
        let start = pack.len() as u64;
        starts.push(start);
        let (header, base) = match form {
            Form::Whole => (header_of(object.kind), None),
            Form::Delta(base) => {
                let base_distance = start - starts[*base];
                (
                    Header::OfsDelta { base_distance },
                    Some(&objects[*base].content[..]),
                )
            }
            Form::DeltaById(base_id) => {
                let mut all = objects.iter().chain(known);
                let base = all.find(|base| base.id == *base_id);
                let content = base.map_or(&b"nowhere"[..], |base| &base.content);
                (Header::RefDelta { base_id: *base_id }, Some(content))
            }
        };
        let delta = base.map(|base| {
            let delta = DeltaBase::new(base.to_vec()).encode(&object.content, usize::MAX);
            delta.expect("a target that isn't empty")
        });
        let content = delta.as_ref().unwrap_or(&object.content);
        header
            .write_to(content.len() as u64, &mut pack)
            .expect("written to memory");
        pack.extend(Deflater::new().deflate(content));
    }
    seal(&mut pack, hash);
    pack
}

fn header_of(kind: Kind) -> Header {
    match kind {
        Kind::Commit => Header::Commit,
        Kind::Tree => Header::Tree,
        Kind::Blob => Header::Blob,
        Kind::Tag => Header::Tag,
    }
}

pub(super) fn seal(pack: &mut Vec<u8>, hash: HashKind) {
    let mut hasher = gix::hash::hasher(hash);
    hasher.update(pack);
    pack.extend_from_slice(hasher.try_finalize().expect("no collision").as_bytes());
}

/// Does something to a pack that makes it another one; whether it did.
pub(super) fn damage(pack: &mut Vec<u8>, hash: HashKind, bytes: &mut Bytes<'_>) -> bool {
    let before = pack.clone();
    let at = (bytes.below(256) << 8 | bytes.below(256)) % pack.len();
    let body = pack.len() - hash.len_in_bytes();
    match bytes.byte() {
        0..100 => return false,
        100..150 => {
            pack.truncate(body);
            pack[at.min(body - 1)] ^= bytes.byte();
            seal(pack, hash);
        }
        150..180 => {
            pack.truncate(body);
            let at = at.min(body);
            let length = bytes.below(20);
            pack.splice(at..at, bytes.take(length).iter().copied());
            seal(pack, hash);
        }
        180..200 => pack.truncate(at),
        200..220 => pack[at] ^= bytes.byte(),
        220..240 => pack.push(bytes.byte()),
        _ => {
            pack.truncate(body);
            pack[11] = pack[11].wrapping_add(bytes.byte());
            seal(pack, hash);
        }
    }
    before != *pack
}

//! The depths of the trees of packs, as they come in.

use proptest::prelude::*;

use super::*;

/// The trees in each tree, by their numbers, each higher than its own.
type Trees = Vec<Vec<usize>>;

fn text(trees: &[ObjectId], below: &[usize]) -> Vec<u8> {
    let entry = |below: &usize| {
        let head = format!("40000 {below:03}\0");
        [head.as_bytes(), trees[*below].as_bytes()].concat()
    };
    let mut below = below.to_vec();
    below.sort_unstable();
    let entries: Vec<_> = below.iter().map(entry).collect();
    entries.concat()
}

/// The longest way from one to each.
fn depths(trees: &Trees) -> Vec<u16> {
    let mut depths = vec![0; trees.len()];
    for (tree, list) in trees.iter().enumerate() {
        for below in list {
            depths[*below] = depths[*below].max(depths[tree] + 1);
        }
    }
    depths
}

/// A delta that copies what both begin with, and has the rest in it.
fn delta_of(base: &[u8], result: &[u8]) -> Vec<u8> {
    let same = base.iter().zip(result).take_while(|(a, b)| a == b).count();
    let mut delta = Vec::new();
    for mut size in [base.len(), result.len()] {
        while size > 0x7f {
            delta.push(size as u8 | 0x80);
            size >>= 7;
        }
        delta.push(size as u8);
    }
    if same > 0 {
        delta.extend([0xb0, same as u8, (same >> 8) as u8]);
    }
    for batch in result[same..].chunks(0x7f) {
        delta.push(batch.len() as u8);
        delta.extend(batch);
    }
    delta
}

/// Packs these trees, some of them as deltas of others, by offset or by name.
fn pack(texts: &[Vec<u8>], ids: &[ObjectId], in_pack: &[bool], bases: &[u8]) -> Entries {
    let mut entries = Entries::default();
    let mut places: Vec<(usize, u64)> = Vec::new();
    // From the last one on, so that what is nested comes first, as it well may.
    for tree in (0..texts.len()).rev().filter(|tree| in_pack[*tree]) {
        let way = bases[tree];
        let base = places.get(usize::from(way / 3) % places.len().max(1));
        let place = match (base, way % 3) {
            (Some((base, at)), 1) if texts[*base].len() > 4 => {
                let base_distance = entries.bytes.len() as u64 - at;
                let delta = delta_of(&texts[*base], &texts[tree]);
                entries.add(Header::OfsDelta { base_distance }, &delta)
            }
            (Some((base, _)), 2) if texts[*base].len() > 4 => {
                let base_id = ids[*base];
                let delta = delta_of(&texts[*base], &texts[tree]);
                entries.add(Header::RefDelta { base_id }, &delta)
            }
            _ => entries.add(Header::Tree, &texts[tree]),
        };
        places.push((tree, place));
    }
    entries
}

/// Each has at least one other in it, or is a leaf of its own kind.
fn forests() -> impl Strategy<Value = (Trees, Vec<bool>, Vec<u8>)> {
    let lists = prop::collection::vec(prop::collection::btree_set(1..8_usize, 0..5), 24);
    let trees = lists.prop_map(|lists| {
        let count = lists.len();
        let list = |(at, list): (usize, std::collections::BTreeSet<usize>)| {
            let below = list.into_iter().map(|step| at + step);
            below.filter(|below| *below < count).collect::<Vec<_>>()
        };
        lists.into_iter().enumerate().map(list).collect()
    });
    let in_pack = prop::collection::vec(prop::bool::weighted(0.8), 24);
    (trees, in_pack, prop::collection::vec(any::<u8>(), 24))
}

#[test]
fn what_a_pack_needs_is_no_deeper_in_its_trees_than_known() {
    let config = ProptestConfig {
        cases: 128,
        ..ProptestConfig::default()
    };
    proptest!(config, |((mut trees, in_pack, bases) in forests())| {
        let mut ids = vec![ObjectId::null(HashKind::Sha1); trees.len()];
        let mut texts = vec![Vec::new(); trees.len()];
        for tree in (0..trees.len()).rev() {
            // No two are the same: a file is called after each.
            let file = format!("100644 zz{tree}\0");
            texts[tree] = [text(&ids, &trees[tree]), file.into_bytes(), vec![7; 20]].concat();
            ids[tree] = id(Kind::Tree, &texts[tree]);
            if !in_pack[tree] {
                // What is in the others isn't looked at.
                trees[tree] = Vec::new();
            }
        }
        // A delta by offset has subtrees of its base counted as its own: some depths are larger then, none is smaller.
        let by_name: Vec<_> = bases.iter().map(|base| if base % 3 == 1 { base + 1 } else { *base }).collect();
        for (bases, are_exact) in [(by_name, true), (bases, false)] {
            let entries = pack(&texts, &ids, &in_pack, &bases);
            if entries.count == 0 {
                return Ok(());
            }
            let incoming = Store::with(&[]).receive(&entries, &SyncOptions::default());
            let (received, _dir) = incoming.expect("a pack");
            let outside = received.outside().expect("all was looked at");
            let found = outside.depths.as_ref().expect("few levels");
            let needed = outside.needed.iter().filter(|(kind, _)| *kind == Kind::Tree);
            let needed: Vec<_> = needed.map(|(_, id)| *id).collect();
            prop_assert_eq!(found.len(), needed.len());
            for id in needed {
                let tree = ids.iter().position(|tree| *tree == id).expect("one of them");
                let expected = depths(&trees)[tree];
                prop_assert!(found[&id] == expected || !are_exact && found[&id] > expected);
            }
        }
    });
}

/// Beyond 64 levels it takes a walk to tell.
#[test]
fn many_trees_are_known_to_be_nested_in_few_levels() {
    for (levels, is_known) in [(20, true), (64, true), (65, false), (2100, false)] {
        let mut entries = Entries::default();
        entries.add(Header::Blob, b"file");
        let blob = id(Kind::Blob, b"file");
        for number in 0..2100 {
            let name = format!("f{number}");
            entries.add(Header::Tree, &tree(&[(&name, blob.as_bytes())]));
        }
        let mut below = tree(&[("f", blob.as_bytes())]);
        for _ in 1..levels {
            entries.add(Header::Tree, &below);
            below = [&b"40000 a\0"[..], id(Kind::Tree, &below).as_bytes()].concat();
        }
        entries.add(Header::Tree, &below);
        let incoming = Store::with(&[]).receive(&entries, &SyncOptions::default());
        let (received, _dir) = incoming.expect("a pack");
        let outside = received.outside().expect("all was looked at");
        assert_eq!(outside.needed, []);
        assert_eq!(outside.depths.is_some(), is_known, "{levels}");
    }
}

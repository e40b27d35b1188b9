//! Advertised refs, and a compact table of them.

use bstr::{BStr, ByteSlice};

use crate::ObjectId;

/// One ref as an end lists it: an *advertised ref*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdvertisedRef<'a> {
    /// The full name, such as `refs/heads/main`. It comes from the end unchecked and may hold any bytes.
    pub name: &'a BStr,
    /// The tip: the object that the ref points to. The null id for a damaged ref, and for a symbolic ref to an
    /// unborn one.
    pub target: ObjectId,
    /// Whether the end reports that the tip is an annotated tag, by its peeled target.
    pub annotated: bool,
    /// Whether the end reports that this is a symbolic ref.
    pub symbolic: bool,
}

impl<'a> AdvertisedRef<'a> {
    /// A ref that is neither an annotated tag nor symbolic, as far as the end reports.
    pub fn new(name: &'a BStr, target: ObjectId) -> Self {
        AdvertisedRef {
            name,
            target,
            annotated: false,
            symbolic: false,
        }
    }
}

/// A compact table of refs: each takes its name, its id, and 16 bytes.
///
/// A listing may have a million refs, most of them unchanged in most runs. Their cost is the memory that they
/// touch.
#[derive(Clone, Default)]
pub(crate) struct RefTable {
    /// The id of each ref, and its name behind that.
    bytes: Vec<u8>,
    rows: Vec<Row>,
    /// Whether the rows are not known to be sorted by name without duplicates.
    is_mixed: bool,
}

#[derive(Clone, Copy)]
struct Row {
    start: usize,
    name: u32,
    id: u8,
    annotated: bool,
    symbolic: bool,
}

impl Row {
    fn name(self, bytes: &[u8]) -> &BStr {
        let start = self.start + usize::from(self.id);
        bytes[start..start + self.name as usize].as_bstr()
    }

    fn id(self, bytes: &[u8]) -> ObjectId {
        let id = &bytes[self.start..self.start + usize::from(self.id)];
        match id.try_into() {
            Ok(sha1) => ObjectId(gix::ObjectId::Sha1(sha1)),
            Err(_) => ObjectId(gix::ObjectId::from_bytes_or_panic(id)),
        }
    }

    fn read(self, bytes: &[u8]) -> AdvertisedRef<'_> {
        AdvertisedRef {
            name: self.name(bytes),
            target: self.id(bytes),
            annotated: self.annotated,
            symbolic: self.symbolic,
        }
    }
}

impl RefTable {
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn get(&self, at: usize) -> Option<AdvertisedRef<'_>> {
        self.rows.get(at).map(|row| row.read(&self.bytes))
    }

    /// The ref at an existing position.
    pub(crate) fn at(&self, at: usize) -> AdvertisedRef<'_> {
        self.rows[at].read(&self.bytes)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = AdvertisedRef<'_>> + Clone {
        self.rows.iter().map(|row| row.read(&self.bytes))
    }

    pub(crate) fn push(&mut self, new: AdvertisedRef<'_>) {
        // Compared here, where both names are in the cache: a later pass would take longer than all the rest.
        let last = self.rows.last();
        self.is_mixed |= last.is_some_and(|last| last.name(&self.bytes) >= new.name);
        let id = new.target.as_bytes();
        self.rows.push(Row {
            start: self.bytes.len(),
            name: u32::try_from(new.name.len()).expect("a name is shorter than 4 GiB"),
            id: id.len() as u8,
            annotated: new.annotated,
            symbolic: new.symbolic,
        });
        self.bytes.extend_from_slice(id);
        self.bytes.extend_from_slice(new.name);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(AdvertisedRef<'_>) -> bool) {
        let before = self.rows.len();
        self.rows.retain(|row| keep(row.read(&self.bytes)));
        // A table that has lost most of its rows is likely to live long: give the memory back.
        if self.rows.len() < before / 2 {
            *self = self.iter().collect();
        }
    }

    /// Sorts by name. Of refs with the same name the first one stays.
    pub(crate) fn sort(&mut self) {
        // Most ends list their refs in order.
        if std::mem::take(&mut self.is_mixed) {
            let name = |row: &Row| row.name(&self.bytes);
            self.rows.sort_by(|a, b| name(a).cmp(name(b)));
            self.rows.dedup_by(|b, a| name(a) == name(b));
        }
    }

    /// The ref with the name `name`. The table has to be sorted.
    pub(crate) fn find(&self, name: &BStr) -> Option<AdvertisedRef<'_>> {
        let found = self
            .rows
            .binary_search_by(|row| row.name(&self.bytes).cmp(name));
        self.get(found.ok()?)
    }
}

/// Changes by later lines of a server's listing.
#[cfg(feature = "http")]
impl RefTable {
    pub(crate) fn last(&self) -> Option<AdvertisedRef<'_>> {
        self.get(self.len().checked_sub(1)?)
    }

    pub(crate) fn annotate_last(&mut self) {
        if let Some(last) = self.rows.last_mut() {
            last.annotated = true;
        }
    }

    /// Marks all refs as not annotated.
    pub(crate) fn clear_annotated(&mut self) {
        self.rows.iter_mut().for_each(|row| row.annotated = false);
    }
}

impl<'a> Extend<AdvertisedRef<'a>> for RefTable {
    fn extend<T: IntoIterator<Item = AdvertisedRef<'a>>>(&mut self, refs: T) {
        refs.into_iter().for_each(|new| self.push(new));
    }
}

impl<'a> FromIterator<AdvertisedRef<'a>> for RefTable {
    fn from_iter<T: IntoIterator<Item = AdvertisedRef<'a>>>(refs: T) -> Self {
        let mut table = RefTable::default();
        table.extend(refs);
        table
    }
}

impl PartialEq for RefTable {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RefTable {}

impl std::fmt::Debug for RefTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(name: &[u8], at: usize) -> AdvertisedRef<'_> {
        let digits = if at.is_multiple_of(2) { 40 } else { 64 };
        AdvertisedRef {
            name: name.into(),
            target: ObjectId::from_hex(format!("{at:0digits$x}").as_bytes()).expect("hex"),
            annotated: at.is_multiple_of(3),
            symbolic: at.is_multiple_of(5),
        }
    }

    #[test]
    fn what_is_put_in_comes_out_sorted_by_name_and_the_first_of_each_counts() {
        let names = prop::collection::vec(prop::collection::vec(0..4_u8, 0..3), 0..40);
        proptest!(|(names in names)| {
            let mut refs: Vec<_> = names.iter().zip(0..).map(|(name, at)| listed(name, at)).collect();
            let mut table: RefTable = refs.iter().copied().collect();
            prop_assert!(table.iter().eq(refs.iter().copied()));
            table.sort();
            refs.sort_by(|a, b| a.name.cmp(b.name));
            refs.dedup_by(|b, a| a.name == b.name);
            prop_assert!(table.iter().eq(refs.iter().copied()));
            for name in &names {
                let found = refs.iter().copied().find(|one| one.name == name.as_slice());
                prop_assert_eq!(table.find(name.as_slice().into()), found);
            }
            prop_assert_eq!(table.find(b"\x05".into()), None);
            table.retain(|one| one.annotated);
            refs.retain(|one| one.annotated);
            prop_assert!(table.iter().eq(refs.iter().copied()));
            table.retain(|_| false);
            prop_assert!(refs.len() < 2 || table.bytes.is_empty());
        });
    }
}

//! Packs that say to make very much of what they have.

use super::*;
use crate::pack::delta_encode::DeltaBase;

#[test]
fn very_much_is_summed_before_any_of_it_is_made() {
    let content = vec![0; 1 << 20];
    let one_more = [&content[..], b"!"].concat();
    let delta = DeltaBase::new(content.clone()).encode(&one_more, usize::MAX);
    let mut delta = delta.expect("a delta");
    let mut entries = Entries::default();
    entries.add(Header::Blob, &content);
    for number in 0..200 {
        *delta.last_mut().expect("the byte that is added") = number;
        let base_distance = entries.bytes.len() as u64;
        entries.add(Header::OfsDelta { base_distance }, &delta);
    }
    let bytes = entries.pack();
    for (limit, is_enough) in [(300 << 20, true), (200 << 20, false)] {
        let mut options = SyncOptions::default();
        options.limits.inflated_bytes = limit;
        let context = SyncContext::new(&options);
        let budget = Budget::new(context.limits());
        let findings = SharedFindings::new(context.fsck(), HashKind::Sha1, 0, 0);
        let (mut file, mut reader) = (tempfile::tempfile().expect("a file"), &bytes[..]);
        let begun = PackReader::begin(&mut reader, &mut file, HashKind::Sha1, &budget, &context);
        let pack_reader = begun.expect("a header");
        let count = pack_reader.count;
        let table = Table::new(HashKind::Sha1, count as usize);
        let mut arrived_by_then = Vec::new();
        let received = pack_reader.receive(&table, &mut findings.inspection(), 1000, &mut |_| {
            arrived_by_then.push(table.len());
        });
        assert_eq!(received.is_ok(), is_enough, "{limit}");
        assert_eq!(arrived_by_then.is_empty(), !is_enough);
        assert!(arrived_by_then.iter().all(|arrived| *arrived == count));
    }
}

//! Thin packs, and what completes them.

use super::*;

/// The file of a loose object.
fn loose_file(store: &Store, id: &ObjectId) -> PathBuf {
    let hex = id.to_string();
    store.objects.join(&hex[..2]).join(&hex[2..])
}

/// Git says that the local object is corrupt, and takes nothing.
#[test]
fn a_base_of_the_store_that_is_damaged_completes_nothing() {
    let (base, own) = (b"the content of a file\n", b"and more\n");
    let [damaged, thin] = [b"The content of a file\n", base].map(|content| id(Kind::Blob, content));
    for is_damaged in [false, true] {
        let store = Store::with(&[(Kind::Blob, base), (Kind::Blob, b"The content of a file\n")]);
        let file = loose_file(&store, &thin);
        if is_damaged {
            fs::remove_file(&file).expect("ours");
            fs::copy(loose_file(&store, &damaged), &file).expect("written");
        }
        let mut entries = Entries::default();
        let header = Header::RefDelta { base_id: thin };
        entries.add(header, &delta(base.len(), own));
        let received = store.receive(&entries, &SyncOptions::default());
        let Err(err) = received else {
            assert!(!is_damaged);
            continue;
        };
        assert!(is_damaged, "{err}");
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.to_string().contains(&thin.to_string()), "{err}");
    }
}

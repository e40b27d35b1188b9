//! Packs that break off, and runs that end while a pack arrives.

use super::*;

/// Ends with an error.
struct Broken<'a>(&'a [u8]);

impl Read for Broken<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.fill_buf()?.read(to)?;
        self.consume(size);
        Ok(size)
    }
}

impl BufRead for Broken<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.is_empty() {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(self.0)
        }
    }

    fn consume(&mut self, amount: usize) {
        self.0 = &self.0[amount..];
    }
}

#[test]
fn a_pack_that_breaks_off() {
    let pack = Versions::mixed(300).entries.pack();
    let options = SyncOptions::default();
    for length in (0..pack.len()).step_by(97) {
        let cut = received(&mut &pack[..length], 200, &options);
        let broken = received(&mut Broken(&pack[..length]), 200, &options);
        for received in [cut, broken] {
            let err = received.expect_err("a part of it");
            assert_eq!(err.0, ErrorKind::Protocol);
            assert!(err.1.starts_with("the pack is damaged: "), "{}", err.1);
        }
    }
}

#[test]
fn what_breaks_off_is_not_worked_on_any_longer() {
    let mut versions = Versions::default();
    versions.add(None, &[1; 60_000]);
    for number in 0..2000_u32 {
        versions.add(Some(0), &number.to_be_bytes());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pack");
    let mut file = File::create(&path).expect("a file");
    let context = SyncContext::new(&SyncOptions::default());
    let budget = Budget::new(context.limits());
    let findings = SharedFindings::new(context.fsck(), HashKind::Sha1, 0, 0);
    let bytes = versions.entries.pack();
    let mut reader = &bytes[..];
    let pack_reader = PackReader::begin(&mut reader, &mut file, HashKind::Sha1, &budget, &context)
        .expect("a header");
    let pack = Pack {
        path: &path,
        folder: folder.path(),
        table: Table::new(HashKind::Sha1, pack_reader.count as usize),
        findings: &findings,
        budget: &budget,
        context: &context,
    };
    let mut inspection = findings.inspection();
    let given_up: Result<((), _), _> = pack.resolve_while(|hand_over| {
        pack_reader.receive(&pack.table, &mut inspection, u64::MAX, &mut |_| {})?;
        hand_over(Window {
            entries: 0..pack.table.len(),
            inflated: InflatedCache::new(&budget),
        });
        Err(Error::new(ErrorKind::Network, "the connection is lost"))
    });
    assert_eq!(given_up.expect_err("lost").kind(), ErrorKind::Network);
    let known = (0..pack.table.len()).filter(|entry| pack.table.kind(*entry).is_some());
    assert!(known.count() < 1000, "most of the work was left");
}

/// Cancels the run behind some bytes.
struct Cancelling<'a> {
    rest: &'a [u8],
    after: usize,
    cancel: Arc<AtomicBool>,
}

impl Read for Cancelling<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let size = self.fill_buf()?.read(to)?;
        self.consume(size);
        Ok(size)
    }
}

impl BufRead for Cancelling<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.rest[..self.rest.len().min(100)])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
        self.after = self.after.saturating_sub(amount);
        if self.after == 0 {
            self.cancel
                .store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

#[test]
fn a_run_that_is_cancelled_as_a_pack_arrives() {
    let pack = Versions::mixed(500).entries.pack();
    for after in [200, pack.len() / 2, pack.len() - 30] {
        let cancel = Arc::new(AtomicBool::new(false));
        let options = SyncOptions {
            cancel: Some(cancel.clone()),
            ..SyncOptions::default()
        };
        let mut reader = Cancelling {
            rest: &pack,
            after,
            cancel,
        };
        let err = received(&mut reader, 300, &options).expect_err("cancelled");
        assert_eq!(err.0, ErrorKind::Cancelled);
    }
}

//! Remotes that can do less than today's git, or say so.

use crate::support::pull::{created, grow, moved, rejected};
use crate::support::push::{LOOKED_AGAIN, PUSHED, Pair, Pushed, is_push};
use crate::support::wire::noise;
use crate::support::{Answer, ObjectFormat};
use gix_pack::data::entry::Header;
use gix_pack::data::input::{BytesToEntriesIter, EntryDataMode, Mode};
use refsync::{Reason, SyncOptions};
use std::sync::{Arc, Mutex};

const MAIN: &str = "refs/heads/main";
const DECLINED: &str = "refs/heads/declined";
const DATE: i64 = 1_700_000_000;

/// In the listing, of the same length.
fn replace(body: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let at = body.windows(from.len()).position(|found| found == from);
    let at = at.expect("a capability of today's git");
    body[at..at + from.len()].copy_from_slice(to);
}

/// A remote behind a proxy that takes a small body in chunks, and wants to know the length of a large one.
#[test]
fn a_pack_is_made_again_for_a_remote_that_wants_to_know_its_length() {
    let pair = Pair::in_step();
    let texts = [noise(3_000_000), noise(3_000_000).chars().rev().collect()];
    let large = |parent: &str, number: usize| {
        let text = &texts[number];
        let files = [("large", text.as_str())];
        pair.source.commit("main", &[parent], "l\n", &files, DATE)
    };
    let forms = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&forms);
    pair.script(move |head| {
        if head.method == "GET" {
            return None;
        }
        let is_chunked = head.header("transfer-encoding").is_some();
        let form = (is_chunked, head.body.len() > 4);
        seen.lock().unwrap().push(form);
        (form == (true, true)).then(|| Answer::status(411))
    });
    let (probe, in_chunks, with_length) = ((true, false), (true, true), (false, true));
    let destination = pair.destination();
    let push = || {
        let pushed = pair.try_push_to(&destination, &SyncOptions::default());
        pushed.expect("a push")
    };
    let first = large(&pair.tip, 0);
    let stats = push();
    assert_eq!(stats.find(MAIN).unwrap().after.to_string(), first);
    assert_eq!(forms.lock().unwrap()[..], [probe, in_chunks, with_length]);
    forms.lock().unwrap().clear();
    let second = large(&first, 1);
    let stats = push();
    assert_eq!(stats.find(MAIN).unwrap().after.to_string(), second);
    assert_eq!(forms.lock().unwrap()[..], [with_length]);
    assert_eq!(pair.remote.git(&["rev-parse", MAIN]), second);
    pair.remote.fsck();
}

/// A file that changed in one place, a branch that the remote declines, and the packs of a push.
struct Older {
    pair: Pair,
    before: String,
    ahead: String,
    declined: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Older {
    fn new(garble: fn(&mut Vec<u8>)) -> Self {
        let pair = Pair::in_step();
        pair.hook("update", "test \"$1\" != refs/heads/declined");
        let mut text = noise(50_000);
        let commit = |parent: &str, text: &str| {
            let files = [("large", text)];
            pair.source
                .commit("main", &[parent], "large\n", &files, DATE)
        };
        let before = commit(&pair.tip, &text);
        pair.push();
        text.insert_str(25_000, "a word");
        let between = commit(&before, &text);
        text.insert_str(25_000, "another word");
        let ahead = commit(&between, &text);
        let declined = grow(&pair.source, "declined", &[&pair.tip]);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&bodies);
        pair.script(move |head| {
            if is_push(head) {
                seen.lock().unwrap().push(head.body.clone());
            }
            (head.method == "GET").then_some(Answer::Garble(garble))
        });
        Older {
            pair,
            before,
            ahead,
            declined,
            bodies,
        }
    }

    /// Both refs get what they deserve, as with any other remote.
    #[track_caller]
    fn push(&self) -> Pushed {
        let pushed = self.pair.push();
        assert_eq!(pushed.fate_of(MAIN), moved(&self.before, &self.ahead));
        let text = "hook declined".to_owned();
        let declined = rejected(None, &self.declined, Reason::Remote { text });
        assert_eq!(pushed.fate_of(DECLINED), declined);
        assert_eq!(pushed.asked, PUSHED);
        pushed
    }

    /// The pack in the request of a push.
    fn pack(&self) -> Vec<u8> {
        let bodies = self.bodies.lock().unwrap();
        let body = bodies.last().expect("a push");
        let at = body.windows(8).position(|found| found == b"0000PACK");
        body[at.expect("a pack") + 4..].to_vec()
    }
}

fn has(pushed: &Pushed, capability: &str) -> bool {
    let mut asked = pushed.sent[0].capabilities.split(' ');
    asked.any(|asked| asked == capability)
}

/// The number of entries of a pack that name their base by its distance, and of those that do by its id.
fn deltas(pack: &[u8]) -> (usize, usize) {
    let (mode, data) = (Mode::Verify, EntryDataMode::Ignore);
    let hash = gix::hash::Kind::Sha1;
    let entries = BytesToEntriesIter::new_from_header(pack, mode, data, hash).unwrap();
    let headers: Vec<_> = entries.map(|entry| entry.unwrap().header).collect();
    let count = |is: fn(&Header) -> bool| headers.iter().filter(|header| is(header)).count();
    (
        count(|header| matches!(header, Header::OfsDelta { .. })),
        count(|header| matches!(header, Header::RefDelta { .. })),
    )
}

/// Whether it lacks the base of a delta.
fn is_thin(pair: &Pair, pack: &[u8]) -> bool {
    let empty = pair.sandbox.init_bare("empty.git", ObjectFormat::Sha1);
    let path = empty.path.join("received.pack");
    std::fs::write(&path, pack).unwrap();
    let index = empty.try_git(&["index-pack", &path.to_string_lossy()]);
    std::fs::remove_dir_all(&empty.path).unwrap();
    !index.status.success()
}

#[test]
fn a_remote_of_today() {
    let older = Older::new(|_| {});
    let pushed = older.push();
    assert!(has(&pushed, "report-status-v2") && has(&pushed, "side-band-64k"));
    assert!(has(&pushed, "object-format=sha1"));
    let pack = older.pack();
    assert_eq!(deltas(&pack), (1, 1), "one about the other, and that thin");
    assert!(is_thin(&older.pair, &pack));
    assert!(pushed.stats.traffic.bytes_sent < 5_000);
}

#[test]
fn one_that_reports_in_the_first_form() {
    let older = Older::new(|body| replace(body, b"report-status-v2", b"no-report-status"));
    let pushed = older.push();
    assert!(has(&pushed, "report-status") && !has(&pushed, "report-status-v2"));
}

#[test]
fn one_without_a_side_band() {
    let older = Older::new(|body| replace(body, b"side-band-64k", b"no-side-band!"));
    let pushed = older.push();
    assert!(has(&pushed, "report-status-v2") && !has(&pushed, "side-band-64k"));
}

#[test]
fn one_without_a_side_band_whose_answer_is_lost() {
    let older = Older::new(|body| replace(body, b"side-band-64k", b"no-side-band!"));
    let length = {
        let pushed = older.push();
        assert_eq!(pushed.sent.len(), 1);
        older.pair.server.requests()[1].response_bytes
    };
    for length in (0..length).step_by(5) {
        older.pair.remote.set_ref(MAIN, &older.before);
        older.pair.script(move |head| {
            if is_push(head) {
                return Some(Answer::TruncateAfter(length));
            }
            let garble = |body: &mut Vec<u8>| replace(body, b"side-band-64k", b"no-side-band!");
            Some(Answer::Garble(garble))
        });
        let pushed = older.pair.push();
        assert_eq!(pushed.fate_of(MAIN), moved(&older.before, &older.ahead));
    }
}

#[test]
fn one_that_knows_no_offsets() {
    let older = Older::new(|body| replace(body, b"ofs-delta", b"ofs-what?"));
    older.push();
    assert_eq!(deltas(&older.pack()), (0, 2));
}

#[test]
fn one_that_completes_no_packs() {
    let older = Older::new(|body| replace(body, b"delete-refs", b"x1x no-thin"));
    let pushed = older.push();
    let pack = older.pack();
    assert!(!is_thin(&older.pair, &pack));
    assert_eq!(deltas(&pack), (1, 0));
    assert!(pushed.stats.traffic.bytes_sent > 30_000);
}

#[test]
fn one_that_does_not_name_its_object_format() {
    let older = Older::new(|body| replace(body, b"object-format=sha1", b"subject-format=sha"));
    let pushed = older.push();
    assert!(!pushed.sent[0].capabilities.contains("object-format"));
}

/// The outcomes of the refs have to be looked up.
#[test]
fn one_that_reports_nothing() {
    let older = Older::new(|body| {
        replace(body, b"report-status ", b"repeat-status ");
        replace(body, b"report-status-v2", b"repeat-status-v2");
    });
    let pushed = older.pair.push();
    assert!(!pushed.sent[0].capabilities.contains("report"));
    assert_eq!(pushed.fate_of(MAIN), moved(&older.before, &older.ahead));
    let reason = pushed.reason_of(DECLINED);
    assert!(matches!(reason, Reason::Unconfirmed { .. }), "{reason}");
    // It may have stopped at that one, so the one is tried by itself.
    assert_eq!(pushed.asked[..3], *LOOKED_AGAIN);
    assert_eq!(pushed.asked[3..], ["push", "info/refs"]);
    assert_eq!(pushed.sent[1].names, [DECLINED]);
}

#[test]
fn an_older_one_that_is_empty() {
    let pair = Pair::with_remote(|sandbox, _| sandbox.init_bare("remote.git", ObjectFormat::Sha1));
    pair.script(|head| {
        let garble = |body: &mut Vec<u8>| replace(body, b"report-status-v2", b"no-report-status");
        (head.method == "GET").then_some(Answer::Garble(garble))
    });
    let pushed = pair.push_with(&SyncOptions::default());
    assert_eq!(pushed.fate_of(MAIN), created(&pair.tip));
    assert_eq!(pushed.asked, PUSHED);
}

use std::io::BufReader;

use proptest::{collection::vec, prelude::*};

use super::*;

const ONE: &str = "a70a5b7644fc16f36d9c16bed7595efdb804706a";
const TWO: &str = "dd988e5ed6368b396049b7e0577000f0cb9a7a18";

/// The bytes that real git sends: see `fixtures/record-wire`.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/wire/push-", $name)).as_slice()
    };
}

fn id(hex: &str) -> ObjectId {
    ObjectId::from_hex(hex.as_bytes()).expect("hex")
}

fn update<'a>(name: &'a str, expected: Option<&str>, new: &str) -> RefUpdate<'a> {
    RefUpdate {
        name: name.into(),
        expected: expected.map(id),
        new: id(new),
    }
}

fn creations<'a>(names: &[&'a str]) -> Vec<RefUpdate<'a>> {
    names.iter().map(|name| update(name, None, TWO)).collect()
}

fn asked_for(words: &str) -> Capabilities {
    Capabilities::of(|name| words.split(' ').any(|word| word == name))
}

fn banded() -> Capabilities {
    asked_for("report-status-v2 side-band-64k")
}

fn plain() -> Capabilities {
    asked_for("report-status")
}

fn pkt(data: &str) -> String {
    format!("{:04x}{data}", data.len() + 4)
}

/// A report that consists of these lines, without side-band.
fn lines(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| pkt(&format!("{line}\n")));
    lines.collect::<String>() + "0000"
}

fn refused(text: &str) -> Verdict {
    Verdict::Refused(text.to_owned())
}

fn read(answer: impl BufRead, capabilities: &Capabilities, updates: &[RefUpdate]) -> Report {
    super::read(
        answer,
        capabilities,
        updates,
        SidebandBudget::up_to(100_000),
    )
}

type Recorded = (&'static [u8], Capabilities, [&'static str; 2], [Verdict; 2]);

/// Each recorded answer, with what was asked for and what becomes of it.
fn table() -> Vec<Recorded> {
    use Verdict::*;
    vec![
        (
            recorded!("accepted"),
            banded(),
            ["refs/heads/main", "refs/tags/v1"],
            [Done, Done],
        ),
        (
            recorded!("refused"),
            banded(),
            ["refs/heads/main", "refs/heads/other"],
            [refused("hook declined"), Done],
        ),
        (
            recorded!("declined"),
            banded(),
            ["refs/heads/main", "refs/heads/new"],
            [
                refused("pre-receive hook declined"),
                refused("pre-receive hook declined"),
            ],
        ),
        (
            recorded!("raced"),
            banded(),
            ["refs/heads/main", "refs/heads/raced"],
            [refused("failed to update ref"), Done],
        ),
        (
            recorded!("plain"),
            plain(),
            ["refs/heads/main", "refs/heads/plain"],
            [refused("hook declined"), Done],
        ),
        (
            recorded!("rewritten"),
            banded(),
            ["refs/for/main", "refs/for/else"],
            [Done, Rewritten],
        ),
        (
            recorded!("unpacked"),
            banded(),
            ["refs/heads/unpacked", "refs/heads/unmentioned"],
            [refused("unpacker error"), Silent],
        ),
    ]
}

#[test]
fn recorded_answers_say_what_happened() {
    for (bytes, capabilities, names, verdicts) in table() {
        let report = read(bytes, &capabilities, &creations(&names));
        assert_eq!(report.verdicts, verdicts, "{}", bytes.as_bstr());
        assert_eq!(report.trouble, None);
        assert!(report.has_begun);
        let unpack_error =
            (bytes == recorded!("unpacked")).then(|| "unpack-objects abnormal exit".to_owned());
        assert_eq!(report.unpack_error, unpack_error);
    }
}

#[test]
fn an_answer_says_the_same_however_it_arrives() {
    for (bytes, capabilities, names, verdicts) in table() {
        let trickle = BufReader::with_capacity(1, bytes);
        let report = read(trickle, &capabilities, &creations(&names));
        assert_eq!(report.verdicts, verdicts, "{}", bytes.as_bstr());
        assert_eq!(report.trouble, None);
    }
}

#[test]
fn a_cut_off_answer_says_nothing_that_it_does_not_say() {
    for (bytes, capabilities, names, verdicts) in table() {
        for length in 0..bytes.len() {
            let cut = &bytes[..length];
            let report = read(cut, &capabilities, &creations(&names));
            for ((name, full), verdict) in names.iter().zip(&verdicts).zip(&report.verdicts) {
                assert!(
                    [full, &Verdict::Silent].contains(&verdict),
                    "{verdict:?} from {}",
                    cut.as_bstr()
                );
                let line = format!("ok {name}\n");
                assert!(
                    *verdict != Verdict::Done || cut.contains_str(&line),
                    "{} says nothing about {name}",
                    cut.as_bstr()
                );
            }
        }
    }
}

#[test]
fn an_ok_counts_when_no_option_can_follow_it() {
    let updates = creations(&["refs/heads/a", "refs/heads/b"]);
    let whole = lines(&["unpack ok", "ok refs/heads/a", "ok refs/heads/b"]);
    let cut = whole.strip_suffix("0000").expect("a flush packet");
    let report = read(cut.as_bytes(), &plain(), &updates);
    assert_eq!(report.verdicts, [Verdict::Done, Verdict::Silent]);
    assert_eq!(report.trouble, Some(Trouble::Unreadable));
}

#[test]
fn side_band_packets_may_split_lines_anywhere() {
    let report = lines(&["unpack ok", "ok refs/heads/a", "ng refs/heads/b no"]);
    let updates = creations(&["refs/heads/a", "refs/heads/b"]);
    for middle in 1..report.len() {
        let (head, tail) = report.split_at(middle);
        let answer = [
            &pkt("\u{1}"),
            &pkt("\u{2}working"),
            &pkt(&format!("\u{1}{head}")),
            &pkt("\u{1}"),
            &pkt("\u{2}still working\r"),
            &pkt(&format!("\u{1}{tail}")),
            &pkt("\u{2}thanks\n"),
            "0000",
        ];
        let report = read(answer.concat().as_bytes(), &banded(), &updates);
        assert_eq!(report.verdicts, [Verdict::Done, refused("no")], "{middle}");
        assert_eq!(report.trouble, None);
    }
}

#[test]
fn lines_and_what_they_mean() {
    use Verdict::*;
    let renamed = "option refname refs/heads/b";
    let new_is_one = format!("option new-oid {ONE}");
    let new_is_two = format!("option new-oid {TWO}");
    let old_is_one = format!("option old-oid {ONE}");
    let old_is_two = format!("option old-oid {TWO}");
    let table: Vec<(Vec<&str>, Verdict)> = vec![
        (vec!["unpack ok", "ok refs/heads/a"], Done),
        (
            vec!["unpack ok", "ng refs/heads/a no, never"],
            refused("no, never"),
        ),
        (vec!["unpack ok", "ng refs/heads/a"], refused("")),
        (
            vec!["unpack ok", "ng refs/heads/a \x1b[2Jgone"],
            refused(" [2Jgone"),
        ),
        (vec!["unpack ok"], Silent),
        (vec![], Silent),
        // Another ref, or a name that only begins with it.
        (vec!["unpack ok", "ok refs/heads/b"], Silent),
        (vec!["unpack ok", "ok refs/heads/ab"], Silent),
        (
            vec!["unpack ok", "ok refs/heads/b", "ok refs/heads/a"],
            Done,
        ),
        // Twice, whatever it says.
        (
            vec!["unpack ok", "ok refs/heads/a", "ok refs/heads/a"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "ng refs/heads/a no"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ng refs/heads/a no", "ok refs/heads/a"],
            Doubled,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", renamed, "ok refs/heads/a"],
            Doubled,
        ),
        // What was written, according to the server.
        (vec!["unpack ok", "ok refs/heads/a", renamed], Rewritten),
        (
            vec![
                "unpack ok",
                "ok refs/heads/a",
                "option refname refs/heads/a",
            ],
            Done,
        ),
        (vec!["unpack ok", "ok refs/heads/a", &new_is_two], Done),
        (vec!["unpack ok", "ok refs/heads/a", &new_is_one], Rewritten),
        (
            vec!["unpack ok", "ok refs/heads/a", "option new-oid x"],
            Rewritten,
        ),
        (vec!["unpack ok", "ok refs/heads/a", &old_is_one], Done),
        (vec!["unpack ok", "ok refs/heads/a", &old_is_two], Rewritten),
        (
            vec!["unpack ok", "ok refs/heads/a", "option old-oid x"],
            Rewritten,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "option forced-update"],
            Done,
        ),
        (
            vec!["unpack ok", "ok refs/heads/a", "option shiny new"],
            Done,
        ),
        (
            vec!["unpack ok", "ok refs/heads/b", renamed, "ok refs/heads/a"],
            Done,
        ),
        (
            vec!["unpack ok", "ng refs/heads/a no", renamed],
            refused("no"),
        ),
        // Without its objects no ref can have moved.
        (vec!["unpack no space", "ok refs/heads/a"], Silent),
        (vec!["unpack no space", "ng refs/heads/a no"], refused("no")),
        // Nonsense, and what is behind it.
        (vec!["ok refs/heads/a", "unpack ok"], Silent),
        (vec!["unpack ok", "hello", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "hello you", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "unpack ok", "ok refs/heads/a"], Silent),
        (vec!["unpack ok", "okrefs/heads/a"], Silent),
    ];
    let updates = [update("refs/heads/a", Some(ONE), TWO)];
    for (said, verdict) in table {
        let report = read(lines(&said).as_bytes(), &plain(), &updates);
        assert_eq!(report.verdicts, [verdict], "{said:?}");
    }
}

#[test]
fn a_created_ref_has_no_old_tip() {
    let null = "0".repeat(40);
    for (old, verdict) in [(null.as_str(), Verdict::Done), (ONE, Verdict::Rewritten)] {
        let old = format!("option old-oid {old}");
        let said = lines(&["unpack ok", "ok refs/heads/a", &old]);
        let report = read(said.as_bytes(), &plain(), &creations(&["refs/heads/a"]));
        assert_eq!(report.verdicts, [verdict], "{old}");
    }
}

#[test]
fn packets_that_are_none_end_the_report() {
    let begun = pkt("unpack ok\n") + &pkt("ok refs/heads/a\n") + &pkt("ok refs/heads/b\n");
    for nonsense in [
        "", "0", "00", "000", "0001", "0002", "0003", "0004", "000fok", "zzzz", "<htm",
    ] {
        let answer = begun.clone() + nonsense;
        let updates = creations(&["refs/heads/a", "refs/heads/b", "refs/heads/c"]);
        let report = read(answer.as_bytes(), &plain(), &updates);
        let expected = [Verdict::Done, Verdict::Silent, Verdict::Silent];
        assert_eq!(report.verdicts, expected, "{nonsense}");
        assert_eq!(report.trouble, Some(Trouble::Unreadable), "{nonsense}");
    }
}

#[test]
fn what_a_server_says_instead_of_a_report() {
    let updates = creations(&["refs/heads/a"]);
    let err = pkt("ERR access\ndenied");
    for capabilities in [plain(), banded(), asked_for("side-band-64k")] {
        let report = read(err.as_bytes(), &capabilities, &updates);
        let said = Trouble::Refused("access denied".to_owned());
        assert_eq!(report.trouble, Some(said), "{capabilities:?}");
        assert_eq!(report.verdicts, [Verdict::Silent]);
        assert!(!report.has_begun);
    }

    let begun = lines(&["unpack ok", "ok refs/heads/a"]);
    let begun = begun.strip_suffix("0000").expect("a flush packet");
    let fatal = pkt(&format!("\u{1}{begun}")) + &pkt("\u{3}disk full\n") + "0000";
    let report = read(fatal.as_bytes(), &banded(), &updates);
    let said = Trouble::Fatal("disk full".to_owned());
    assert_eq!(report.trouble, Some(said));
    assert_eq!(report.verdicts, [Verdict::Silent]);
    assert!(report.has_begun);
}

#[test]
fn last_words_after_a_whole_report_change_nothing() {
    let report = lines(&["unpack ok", "ok refs/heads/a"]);
    let answer = pkt(&format!("\u{1}{report}")) + &pkt("\u{3}hook crashed\n");
    let report = read(answer.as_bytes(), &banded(), &creations(&["refs/heads/a"]));
    assert_eq!(report.verdicts, [Verdict::Done]);
    assert_eq!(report.trouble, None);
}

#[test]
fn a_server_that_does_not_report_is_silent() {
    for (answer, words) in [
        ("", ""),
        ("anything at all", ""),
        ("0000", "side-band-64k"),
        ("000c\u{2}working0000", "side-band-64k"),
    ] {
        let report = read(
            answer.as_bytes(),
            &asked_for(words),
            &creations(&["refs/heads/a"]),
        );
        assert_eq!(report.verdicts, [Verdict::Silent], "{answer}");
        assert_eq!(report.trouble, None, "{answer}");
        assert!(!report.has_begun);
    }
}

#[test]
fn a_report_about_other_refs_without_end_is_given_up() {
    /// Fails the test if too much of it is read.
    struct Endless(u32);
    impl io::Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            assert!(self.0 < 10_000, "it goes on for ever");
            let lines = pkt("unpack ok") + &pkt("ok refs/heads/other").repeat(100);
            lines.as_bytes().read(buf)
        }
    }
    let answer = BufReader::with_capacity(64 * 1024, Endless(0));
    let report = read(answer, &plain(), &creations(&["refs/heads/a"]));
    assert_eq!(report.verdicts, [Verdict::Silent]);
    assert_eq!(report.trouble, Some(Trouble::Unreadable));
}

proptest! {
    #[test]
    fn a_damaged_answer_is_no_reason_to_panic(
        which in 0_usize..7,
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (bytes, capabilities, names, _) = table().swap_remove(which);
        let mut bytes = bytes.to_vec();
        for (place, byte) in damage {
            *place.get_mut(&mut bytes) = byte;
        }
        let report = read(&*bytes, &capabilities, &creations(&names));
        for (name, verdict) in names.iter().zip(report.verdicts) {
            let line = format!("ok {name}");
            prop_assert!(verdict != Verdict::Done || bytes.contains_str(&line));
        }
    }
}

/// An answer that goes on for as long as somebody reads it, and how much of it was read.
struct Endless<'a> {
    start: &'a [u8],
    again: &'a [u8],
    at: usize,
}

impl Read for Endless<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at = self.at.checked_sub(self.start.len());
        let mut part = match at {
            None => &self.start[self.at..],
            Some(at) => &self.again[at % self.again.len()..],
        };
        let read = part.read(buf)?;
        self.at += read;
        assert!(self.at < 1_000_000, "nobody needs to know that much");
        Ok(read)
    }
}

#[test]
fn an_answer_without_end_is_not_read_without_end() {
    let updates = creations(&["refs/heads/a", "refs/heads/b"]);
    let reported = pkt("unpack ok\n") + &pkt("ok refs/heads/a\n");
    let in_band = |text: &str| pkt(&format!("\u{1}{text}"));
    let over = || {
        let text = "more than 100000 bytes beside the matter (limit `noise`)";
        Some(Trouble::OverBudget(text.to_owned()))
    };
    let done = || vec![Verdict::Done, Verdict::Silent];
    let table = [
        (plain(), reported.clone(), pkt("option x y\n"), over()),
        (plain(), reported.clone(), pkt("option old-oid\n"), over()),
        (plain(), reported.clone(), pkt("ok refs/heads/a\n"), over()),
        (
            banded(),
            in_band(&reported),
            in_band(&pkt("option x\n")),
            over(),
        ),
        (banded(), in_band(&reported), pkt("\u{2}working"), over()),
        (banded(), in_band(&reported), pkt("\u{1}"), over()),
        // The report is complete: what follows is given up on and changes nothing.
        (
            banded(),
            in_band(&(reported.clone() + "0000")),
            pkt("\u{2}more"),
            None,
        ),
        (
            banded(),
            in_band(&(reported.clone() + "0000")),
            pkt("\u{1}more"),
            None,
        ),
        (
            asked_for("side-band-64k"),
            String::new(),
            pkt("\u{2}working"),
            over(),
        ),
        (
            asked_for("side-band-64k"),
            String::new(),
            pkt("\u{1}working"),
            over(),
        ),
        (asked_for(""), String::new(), "x".to_owned(), over()),
    ];
    for (capabilities, start, again, trouble) in table {
        let answer = Endless {
            start: start.as_bytes(),
            again: again.as_bytes(),
            at: 0,
        };
        let report = read(BufReader::new(answer), &capabilities, &updates);
        assert_eq!(report.trouble, trouble, "{start} {again}");
        if trouble.is_none() {
            assert_eq!(report.verdicts, done(), "{start} {again}");
        }
    }
}

#[test]
fn reasons_longer_than_usual_are_noise() {
    let names = ["refs/heads/a", "refs/heads/b", "refs/heads/c"];
    let report = |length: usize, noise| {
        let reason = "x".repeat(length);
        let mut all = vec!["unpack ok".to_owned()];
        all.extend(names.map(|name| format!("ng {name} {reason}")));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        let answer = lines(&all);
        super::read(
            answer.as_bytes(),
            &plain(),
            &creations(&names),
            SidebandBudget::up_to(noise),
        )
    };
    let short = report(64, 0);
    assert_eq!(short.trouble, None);
    assert_eq!(short.verdicts, vec![refused(&"x".repeat(64)); 3]);
    assert_eq!(report(400, 3 * 340).trouble, None);
    let long = report(400, 3 * 340 - 1);
    assert!(matches!(long.trouble, Some(Trouble::OverBudget(text)) if text.contains("noise")));
    assert_eq!(
        long.verdicts[..2],
        [refused(&"x".repeat(400)), refused(&"x".repeat(400))]
    );
}

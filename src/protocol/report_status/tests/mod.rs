use std::io::BufReader;

use proptest::{collection::vec, prelude::*};

use super::*;

mod endless;
mod lines;

const ONE: &str = "a70a5b7644fc16f36d9c16bed7595efdb804706a";
const TWO: &str = "dd988e5ed6368b396049b7e0577000f0cb9a7a18";

/// The bytes that real git sends: see `fixtures/record-wire`.
macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../../fixtures/wire/push-", $name)).as_slice()
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
    Capabilities::of_v0(words)
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
        let unpack = if bytes == recorded!("unpacked") {
            Err("unpack-objects abnormal exit".to_owned())
        } else {
            Ok(())
        };
        assert_eq!(report.unpack, Some(unpack));
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
    assert_eq!(report.trouble, Some(Trouble::Garbled));
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
        assert_eq!(report.trouble, Some(Trouble::Garbled), "{nonsense}");
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
        assert!(report.unpack.is_none());
    }

    let begun = lines(&["unpack ok", "ok refs/heads/a"]);
    let begun = begun.strip_suffix("0000").expect("a flush packet");
    let fatal = pkt(&format!("\u{1}{begun}")) + &pkt("\u{3}disk full\n") + "0000";
    let report = read(fatal.as_bytes(), &banded(), &updates);
    let said = Trouble::Fatal("disk full".to_owned());
    assert_eq!(report.trouble, Some(said));
    assert_eq!(report.verdicts, [Verdict::Silent]);
    assert_eq!(report.unpack, Some(Ok(())));
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
        assert!(report.unpack.is_none());
    }
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

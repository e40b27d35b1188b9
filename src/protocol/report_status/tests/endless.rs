//! Answers without an end, and reasons without measure.

use super::*;

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
    assert_eq!(report.trouble, Some(Trouble::Garbled));
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
        let mut none = SidebandBudget::up_to(100_000);
        let noise = none.take(100_000).expect_err("too much");
        Some(Trouble::OverBudget(noise))
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
        super::super::read(
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
    assert!(matches!(long.trouble, Some(Trouble::OverBudget(_))));
    assert_eq!(
        long.verdicts[..2],
        [refused(&"x".repeat(400)), refused(&"x".repeat(400))]
    );
}

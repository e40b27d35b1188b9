use super::*;

fn v2() -> Dialect {
    Dialect::V2(Capabilities::of_v2(
        "fetch=shallow filter\nobject-format=sha1",
    ))
}

fn v0(words: &str) -> Dialect {
    Dialect::V0(Capabilities::of_v0(words))
}

fn id(digit: &str) -> ObjectId {
    ObjectId::from_hex(digit.repeat(40).as_bytes()).expect("hex")
}

fn asked(dialect: &Dialect, change: impl FnOnce(&mut PackRequest)) -> Result<String, Error> {
    let mut wanted = PackRequest {
        wants: vec![id("a"), id("b")],
        haves: vec![id("c")],
        shallow: vec![id("d")],
        thin: true,
        ofs_delta: true,
    };
    change(&mut wanted);
    let said = request(&wanted, dialect, ObjectFormat::Sha1, "me/1")?;
    let text = String::from_utf8(said).expect("ASCII");
    // Readable: no lengths, ids as their first digit.
    let lines = text.replace(['\n'], "|");
    let short = ["a", "b", "c", "d"].iter().fold(lines, |text, digit| {
        text.replace(&digit.repeat(40), &digit.to_uppercase())
    });
    Ok(short)
}

#[test]
fn what_a_server_is_asked() {
    let table = [
        (
            asked(&v2(), |_| {}),
            "0012command=fetch|000fagent=me/1|0017object-format=sha1|0001000ethin-pack|\
             000eofs-delta|0010no-progress|0032want A|0032want B|0035shallow D|0032have C|0009done|0000",
        ),
        (
            asked(
                &v0(
                    "side-band side-band-64k multi_ack_detailed thin-pack ofs-delta agent no-progress shallow",
                ),
                |_| {},
            ),
            "007ewant A multi_ack_detailed side-band-64k thin-pack ofs-delta no-progress agent=me/1|\
             0032want B|0035shallow D|00000032have C|0009done|",
        ),
        (
            asked(&v0("side-band thin-pack ofs-delta"), |wanted| {
                wanted.thin = false;
                wanted.ofs_delta = false;
                wanted.haves.clear();
            }),
            "003cwant A side-band|0032want B|00000009done|",
        ),
    ];
    for (said, expected) in table {
        assert_eq!(said.expect("a request"), expected);
    }
    let err = asked(&v0("thin-pack"), |_| {}).expect_err("no side-band");
    assert_eq!(err.kind(), ErrorKind::Unsupported);
}

/// Packets; `0000` and the like stand for themselves.
fn answer(packets: &[&str]) -> Vec<u8> {
    let packet = |content: &&str| match *content {
        "0000" | "0001" | "0002" => (*content).to_owned(),
        content => format!("{:04x}{content}", content.len() + 4),
    };
    packets.iter().map(packet).collect::<String>().into_bytes()
}

fn read(dialect: &Dialect, bytes: &[u8]) -> Result<Preface, Error> {
    preface(&mut &*bytes, dialect, &mut SidebandBudget::up_to(10_000))
}

#[test]
fn what_may_come_before_a_pack() {
    let acked = format!("ACK {}\n", "a".repeat(40));
    let in_common = format!("ACK {} common\n", "a".repeat(40));
    let (v2, v0) = (&v2(), &v0(""));
    let table: [(&Dialect, &[&str], Preface); 8] = [
        (v2, &["packfile\n"], Preface::Pack(None)),
        (
            v2,
            &["acknowledgments\n", &acked, "ready\n", "0001", "packfile\n"],
            Preface::Pack(None),
        ),
        (
            v2,
            &["shallow-info\n", "0001", "packfile"],
            Preface::Pack(None),
        ),
        (v2, &["ERR no!\n"], Preface::Refused("no!".into())),
        (v0, &["NAK\n", "\u{1}PACK"], Preface::Pack(Some(5))),
        (
            v0,
            &[&in_common, &acked, "\u{2}Counting"],
            Preface::Pack(Some(9)),
        ),
        (v0, &["\u{3}sorry"], Preface::Pack(Some(6))),
        (v0, &["NAK", "ERR no!"], Preface::Refused("no!".into())),
    ];
    for (dialect, packets, expected) in table {
        let found = read(dialect, &answer(packets)).expect("a preface");
        assert_eq!(found, expected, "{packets:?}");
    }
}

#[test]
fn what_is_refused_before_a_pack() {
    use ErrorKind::{Network, Protocol, Unsupported};
    let shallow = format!("shallow {}\n", "a".repeat(40));
    let unshallow = format!("unshallow {}\n", "a".repeat(40));
    let (v2, v0) = (&v2(), &v0(""));
    let table: [(&Dialect, &[&str], ErrorKind); 21] = [
        (v2, &[], Network),
        (v2, &["0000"], Protocol),
        (v2, &["0001"], Protocol),
        (v2, &["0002"], Protocol),
        (v2, &["nonsense\n"], Protocol),
        (v2, &["\u{1}PACK"], Protocol),
        (v2, &["acknowledgments\n", "NAK\n", "0000"], Protocol),
        (v2, &["acknowledgments\n", "0002"], Protocol),
        (v2, &["acknowledgments\n", "nonsense", "0001"], Protocol),
        (v2, &["shallow-info\n", &shallow, "0001"], Unsupported),
        (v2, &["shallow-info\n", &unshallow, "0001"], Unsupported),
        (v2, &["wanted-refs\n", "0001", "packfile\n"], Protocol),
        (v2, &["packfile-uris\n", "0001", "packfile\n"], Protocol),
        (v0, &[], Network),
        // These reach assertions in gix-protocol.
        (v0, &["0000"], Protocol),
        (v0, &["0000", "0000"], Protocol),
        (v0, &["0001"], Protocol),
        (v0, &["0002", "NAK\n"], Protocol),
        (v0, &["\u{fffd}\n", "0000"], Protocol),
        (v0, &[&shallow, "0000", "NAK\n"], Unsupported),
        (v0, &["NAK\n", &unshallow], Unsupported),
    ];
    for (dialect, packets, expected) in table {
        let err = read(dialect, &answer(packets)).expect_err("refused");
        assert_eq!(err.kind(), expected, "{packets:?}: {err}");
    }
}

#[test]
fn acknowledgments_without_end_have_a_budget() {
    let acked = format!("ACK {} common\n", "a".repeat(40));
    let many = vec![&*acked; 1000];
    for (dialect, packets) in [
        (v0(""), many.clone()),
        (v2(), [vec!["acknowledgments\n"], many].concat()),
    ] {
        let err = read(&dialect, &answer(&packets)).expect_err("too much");
        assert_eq!(err.kind(), ErrorKind::BudgetExceeded);
    }
}

/// Random packets end in a result, whatever they are.
#[test]
fn nothing_panics() {
    use proptest::prelude::*;
    let words = prop::sample::select(vec![
        "0000",
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
        "fff0",
        "ffff",
        "zzzz",
        "0008NAK\n",
        "0007NAK",
        "0014acknowledgments\n",
        "0010shallow-info\n",
        "000dpackfile\n",
        "0005\u{1}",
        "0009\u{2}text",
        "0009\u{3}text",
        "000bERR no!",
        "0006ACK",
        "000aready\n",
        "",
    ]);
    proptest!(|(packets in prop::collection::vec(words, 0..12))| {
        let bytes = packets.concat().into_bytes();
        for dialect in [&v2(), &v0("")] {
            let _ = read(dialect, &bytes);
        }
    });
}

#[test]
fn a_refused_want_is_one_that_was_asked_for() {
    let wants = [id("a"), id("b")];
    let line = |text: String| refused_want(text.as_str().into(), &wants);
    assert_eq!(
        line(format!("upload-pack: not our ref {}", "b".repeat(40))),
        Some(id("b"))
    );
    assert_eq!(
        line(format!("upload-pack: not our ref {}\n", "a".repeat(40))),
        Some(id("a"))
    );
    assert_eq!(
        line(format!("upload-pack: not our ref {}", "c".repeat(40))),
        None
    );
    assert_eq!(line("upload-pack: not our ref what".into()), None);
    assert_eq!(line("access denied".into()), None);
}

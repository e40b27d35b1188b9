//! The answers of servers to a fetch and to a push, with a plain reading of them beside ours.

use std::io::{BufRead, Read};

use bstr::{BString, ByteSlice};

use super::{
    bytes::{Bytes, Pieces},
    packets::{Frame, frames, without_newlines},
};
use crate::{
    ObjectId, RefUpdate,
    protocol::{
        capabilities::Capabilities,
        fetch::{self, Dialect, Preface},
        printable,
        report_status::{self, Report, Verdict},
        side_band::{SideBand, Trouble},
        sideband_budget::SidebandBudget,
    },
};

/// A message is not looked at beyond this.
const MAX_MESSAGE: usize = 4096;

/// The answer to a fetch, behind a byte that says how it comes: what precedes the pack is read as it
/// would be in the plainest way, and so is the pack in its side-bands.
pub fn fetch_response(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let is_v2 = seed & 1 == 0;
    let dialect = if is_v2 {
        Dialect::V2(Capabilities::default())
    } else {
        Dialect::V0(Capabilities::default())
    };
    let answer = bytes.0;
    let frames = frames(answer);
    let (expected, pack) = if is_v2 {
        preface_v2(&frames)
    } else {
        preface_v0(&frames)
    };
    for in_pieces in [false, true] {
        let mut rest = pieces_or_whole(answer, seed, in_pieces);
        let mut noise = SidebandBudget::up_to(u64::MAX);
        let preface = fetch::preface(&mut rest, &dialect, &mut noise);
        let begun = match preface {
            Err(_) => {
                assert_eq!(expected, None);
                continue;
            }
            Ok(Preface::Refused(text)) => {
                assert_eq!(expected, Some(Before::Refused(text)));
                continue;
            }
            Ok(Preface::Pack(begun)) => begun,
        };
        assert_eq!(expected, Some(Before::Pack));
        assert_eq!(begun.is_some(), !is_v2);
        let found = read_bands(rest, noise, begun);
        assert_eq!(found, plain_bands(&frames[pack..]));
    }
    // Whatever it is that is said, no more of it is heard than the budget has.
    let limit = u64::from(seed);
    let mut rest = answer;
    let preface = fetch::preface(&mut rest, &dialect, &mut SidebandBudget::up_to(limit));
    if preface.is_ok() {
        let heard = (answer.len() - rest.len()) as u64;
        // The heads of packets without content are not counted, and there is one for each with it.
        assert!(
            heard <= 2 * limit + 8,
            "{heard} bytes with a budget of {limit}"
        );
    }
}

/// A pack in side-bands, behind a byte that says how it comes.
pub fn side_band(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let frames = frames(bytes.0);
    let expected = plain_bands(&frames);
    for in_pieces in [false, true] {
        let stream = pieces_or_whole(bytes.0, seed, in_pieces);
        assert_eq!(
            read_bands(stream, SidebandBudget::up_to(u64::MAX), None),
            expected
        );
        if let Some((head, rest)) = bytes.0.split_first_chunk::<4>()
            && let Some(Frame::Data(_) | Frame::Cut(_)) = frames.first()
        {
            let length = usize::from_str_radix(str::from_utf8(head).expect("hex"), 16);
            let headless = Some(length.expect("hex") - 4);
            let stream = pieces_or_whole(rest, seed, in_pieces);
            let found = read_bands(stream, SidebandBudget::up_to(u64::MAX), headless);
            assert_eq!(found, expected);
        }
    }
    let limit = u64::from(seed);
    let (matter, end) = read_bands(bytes.0, SidebandBudget::up_to(limit), None);
    assert!(expected.0.starts_with(&matter));
    let beside: usize = frames
        .iter()
        .take_while(|frame| matches!(frame, Frame::Data([1 | 2, ..])))
        .map(|frame| match frame {
            Frame::Data([2, rest @ ..]) => rest.len() + 4,
            Frame::Data([1]) => 4,
            _ => 0,
        })
        .sum();
    match end {
        End::OverBudget => {
            assert!(beside as u64 > limit || !matches!(frames.last(), Some(Frame::End)))
        }
        end => assert_eq!((matter, end), expected),
    }
}

/// The report of a server about a push of three refs, behind a byte of its capabilities: the verdict on
/// each ref is that of a plain reading, and nothing has moved unless it says so.
pub fn report_status(data: &[u8]) {
    let mut bytes = Bytes(data);
    let seed = bytes.byte();
    let (reports, bands) = (seed & 1 == 0, seed & 2 != 0);
    let words = [(reports, "report-status"), (bands, "side-band-64k")];
    let words = words.iter().filter(|(is_offered, _)| *is_offered);
    let words: Vec<_> = words.map(|(_, word)| *word).collect();
    let capabilities = Capabilities::of_v0(words.join(" "));
    let updates = ["refs/heads/a", "refs/heads/b", "refs/tags/c"].map(|name| RefUpdate {
        name: name.into(),
        expected: name.ends_with('b').then(|| id(b'1')),
        new: id(b'2'),
    });
    let read = |noise, in_pieces| -> Report {
        let stream = pieces_or_whole(bytes.0, seed, in_pieces);
        report_status::read(
            stream,
            &capabilities,
            &updates,
            SidebandBudget::up_to(noise),
        )
    };
    let report = read(u64::MAX, false);
    if reports || bands {
        assert_eq!(read(u64::MAX, true), report);
    }
    for report in [&report, &read(seed.into(), true)] {
        assert_eq!(report.verdicts.len(), updates.len());
        let is_done = report.verdicts.contains(&Verdict::Done);
        assert!(!is_done || reports && report.unpack == Some(Ok(())));
    }
    if !reports || report.trouble.is_some() {
        return;
    }
    let matter = if bands {
        plain_bands(&frames(bytes.0)).0
    } else {
        bytes.0.to_vec()
    };
    let (unpack, expected) = plain_report(&matter, &updates);
    assert_eq!(report.unpack, unpack);
    assert_eq!(report.verdicts, expected);
}

fn id(digit: u8) -> ObjectId {
    ObjectId::from_hex(&[digit; 40]).expect("hex")
}

fn pieces_or_whole(stream: &[u8], seed: u8, in_pieces: bool) -> Box<dyn BufRead + '_> {
    if in_pieces {
        Box::new(Pieces::new(stream, seed))
    } else {
        Box::new(stream)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Before {
    Pack,
    Refused(BString),
}

/// And the frame that the pack begins with.
fn preface_v2(frames: &[Frame<'_>]) -> (Option<Before>, usize) {
    let mut section: Option<&[u8]> = None;
    for (at, frame) in frames.iter().enumerate() {
        let line = match frame {
            Frame::Data(line) => without_newlines(line),
            Frame::Delimiter if section.take().is_some() => continue,
            _ => break,
        };
        let is_known = match section {
            None if line == b"packfile" => return (Some(Before::Pack), at + 1),
            None if line == b"acknowledgments" || line == b"shallow-info" => {
                section = Some(line);
                true
            }
            Some(b"acknowledgments") => is_acknowledgment(line),
            _ => false,
        };
        if !is_known {
            return (refused(line), 0);
        }
    }
    (None, 0)
}

fn preface_v0(frames: &[Frame<'_>]) -> (Option<Before>, usize) {
    for (at, frame) in frames.iter().enumerate() {
        match frame {
            Frame::Data([1..=3, ..]) | Frame::Cut([1..=3, ..]) => return (Some(Before::Pack), at),
            Frame::Data(line) if is_acknowledgment(without_newlines(line)) => {}
            Frame::Data(line) => return (refused(without_newlines(line)), 0),
            _ => break,
        }
    }
    (None, 0)
}

fn is_acknowledgment(line: &[u8]) -> bool {
    line == b"NAK" || line == b"ready" || line.starts_with(b"ACK ")
}

fn refused(line: &[u8]) -> Option<Before> {
    let text = line.strip_prefix(b"ERR ")?;
    Some(Before::Refused(text.into()))
}

/// The end of a stream in side-bands.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Flush,
    CutOff,
    Fatal(String),
    Refused(String),
    Garbled,
    OverBudget,
}

fn read_bands(
    stream: impl BufRead,
    noise: SidebandBudget,
    headless: Option<usize>,
) -> (Vec<u8>, End) {
    let mut bands = SideBand::new(stream, noise, headless);
    let mut matter = Vec::new();
    let read = bands.read_to_end(&mut matter);
    let end = match (read, bands.trouble()) {
        (Ok(_), None) => End::Flush,
        (Err(_), Some(Trouble::Fatal(text))) => End::Fatal(text),
        (Err(_), Some(Trouble::Refused(text))) => End::Refused(text),
        (Err(_), Some(Trouble::Garbled)) => End::Garbled,
        (Err(_), Some(Trouble::OverBudget(_))) => End::OverBudget,
        (Err(_), Some(Trouble::EndedEarly)) => End::CutOff,
        (read, trouble) => panic!("{read:?} and {trouble:?}"),
    };
    (matter, end)
}

fn plain_bands(frames: &[Frame<'_>]) -> (Vec<u8>, End) {
    let text = |text: &[u8]| printable(&text[..text.len().min(MAX_MESSAGE)]);
    let mut matter = Vec::new();
    for frame in frames {
        let end = match frame {
            Frame::Data([1, rest @ ..]) => {
                matter.extend_from_slice(rest);
                continue;
            }
            Frame::Data([2, ..]) => continue,
            Frame::Data([3, rest @ ..]) => End::Fatal(text(rest)),
            Frame::Data([b'E', b'R', b'R', b' ', rest @ ..]) => {
                End::Refused(text(&rest[..rest.len().min(MAX_MESSAGE - 3)]))
            }
            Frame::Cut([1, rest @ ..]) => {
                matter.extend_from_slice(rest);
                End::CutOff
            }
            Frame::Cut([] | [2 | 3 | b'E', ..]) | Frame::End => End::CutOff,
            Frame::Flush => End::Flush,
            _ => End::Garbled,
        };
        return (matter, end);
    }
    (matter, End::CutOff)
}

/// The plain reading of a complete report.
fn plain_report(
    matter: &[u8],
    updates: &[RefUpdate],
) -> (Option<Result<(), String>>, Vec<Verdict>) {
    let frames = frames(matter);
    let lines = frames.iter().map_while(|frame| match frame {
        Frame::Data(line) => Some(without_newlines(line)),
        _ => None,
    });
    let mut lines = lines.fuse();
    let unpack = lines.next().map(|line| match &line[b"unpack ".len()..] {
        b"ok" => Ok(()),
        text => Err(printable(text)),
    });
    let lines: Vec<_> = lines.collect();
    let verdict = |update: &RefUpdate| {
        let ok = [&b"ok "[..], update.name].concat();
        let ng = [&b"ng "[..], update.name].concat();
        let is_ng = |line: &[u8]| {
            line.strip_prefix(&ng[..])
                .is_some_and(|rest| rest.is_empty() || rest[0] == b' ')
        };
        let mut about = (0..lines.len()).filter(|at| lines[*at] == ok || is_ng(lines[*at]));
        match (about.next(), about.next()) {
            (None, _) => Verdict::Silent,
            (Some(_), Some(_)) => Verdict::Doubled,
            (Some(at), None) if is_ng(lines[at]) => {
                Verdict::Refused(printable(lines[at].get(ng.len() + 1..).unwrap_or_default()))
            }
            (Some(_), None) if unpack != Some(Ok(())) => Verdict::Silent,
            (Some(at), None) => {
                let options = lines[at + 1..]
                    .iter()
                    .map_while(|line| line.strip_prefix(b"option "));
                if options
                    .into_iter()
                    .any(|option| says_otherwise(option, update))
                {
                    Verdict::Rewritten
                } else {
                    Verdict::Done
                }
            }
        }
    };
    let verdicts = updates.iter().map(verdict).collect();
    (unpack, verdicts)
}

fn says_otherwise(option: &[u8], update: &RefUpdate) -> bool {
    let (key, value) = option.split_once_str(" ").unwrap_or((option, b""));
    let is = |id: ObjectId| ObjectId::from_hex(value).is_ok_and(|said| said == id);
    match key {
        b"refname" => value != update.name,
        b"new-oid" => !is(update.new),
        b"old-oid" => match update.expected {
            Some(expected) => !is(expected),
            None => !ObjectId::from_hex(value).is_ok_and(|said| said.is_null()),
        },
        _ => false,
    }
}

//! The report of a server about a push (gitprotocol-pack(5), "Report Status").

use std::{
    collections::HashMap,
    io::{self, BufRead, Read},
    mem,
};

use bstr::{BStr, ByteSlice};

use super::{
    capabilities::Capabilities,
    pkt_line::{Packet, read_data, read_head},
    printable, receive_pack,
    side_band::{SideBand, Trouble},
    sideband_budget::SidebandBudget,
};
use crate::{ObjectId, RefUpdate};

/// The number of lines about something else after which a report is taken for nonsense.
const MAX_STRAY_LINES: u32 = 100;

/// The length of the reason for a refusal, in bytes, that takes nothing off the side-band budget: those of
/// git and of the large forges are shorter.
const USUAL_REASON: usize = 64;

/// The report on a push, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// One for each update, in order.
    pub(crate) verdicts: Vec<Verdict>,
    /// Whether there was any of it.
    pub(crate) has_begun: bool,
    /// Why the server could not take in the pack, in its words.
    pub(crate) unpack_error: Option<String>,
    /// The trouble that kept the report from being complete.
    pub(crate) trouble: Option<Trouble>,
    /// The lines that the server and its hooks printed.
    pub(crate) messages: Vec<String>,
}

/// The verdict of the server on one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// In the server's words, safe to print.
    Refused(String),
    /// Nothing, or nothing that can be relied on.
    Silent,
    /// More than one thing.
    Doubled,
    /// That it wrote another ref or another object than it was asked to.
    Rewritten,
}

/// Reads the answer to a push, to its end if it makes sense that far and keeps to the matter.
pub(crate) fn read(
    answer: impl BufRead,
    capabilities: &Capabilities,
    updates: &[RefUpdate],
    sideband: SidebandBudget,
) -> Report {
    let mut report = ReportLines::about(updates, sideband);
    let reports = receive_pack::report_status(capabilities).is_some();
    if !capabilities.has(receive_pack::SIDE_BAND) {
        let ended = if reports {
            report.read(answer)
        } else {
            to_the_end(answer, sideband)
        };
        return report.close(ended.err(), Vec::new());
    }
    let mut bands = SideBand::new(answer, sideband, None);
    let ended = if reports {
        report.read(&mut bands)
    } else {
        bands.finish().map_err(unreadable)
    };
    let trouble = ended.err();
    let trouble = trouble.map(|trouble| bands.trouble().unwrap_or(trouble));
    if trouble.is_none() {
        // A hook may go on after the report. What becomes of it changes nothing.
        drop(bands.finish());
    }
    report.close(trouble, bands.into_messages())
}

/// For a server that doesn't report.
fn to_the_end(mut answer: impl BufRead, mut sideband: SidebandBudget) -> Result<(), Trouble> {
    loop {
        let heard = answer.fill_buf().map_err(unreadable)?.len();
        if heard == 0 {
            return Ok(());
        }
        sideband.take(heard).map_err(Trouble::OverBudget)?;
        answer.consume(heard);
    }
}

/// The trouble of a report that breaks off or isn't one, short of what the side-band knows of it.
fn unreadable(_: io::Error) -> Trouble {
    Trouble::Garbled
}

/// Reads the next line of a report; `false` for the flush packet at its end.
fn next_line(from: &mut impl Read, line: &mut Vec<u8>) -> Result<bool, Trouble> {
    let bytes = match read_head(from).map_err(unreadable)? {
        Packet::Data(bytes) => bytes,
        Packet::Flush => return Ok(false),
        Packet::Delimiter | Packet::ResponseEnd => return Err(Trouble::Garbled),
    };
    read_data(from, bytes, line).map_err(unreadable)?;
    line.strip_prefix(b"ERR ")
        .map_or(Ok(true), |text| Err(Trouble::Refused(printable(text))))
}

/// The lines of a report, as they come.
struct ReportLines<'a> {
    updates: &'a [RefUpdate<'a>],
    by_name: HashMap<&'a BStr, usize>,
    mentioned: Vec<bool>,
    mentions: usize,
    /// The update that the last line said to be done, which options behind it may yet change.
    open: Option<usize>,
    unpack: Option<Result<(), String>>,
    verdicts: Vec<Verdict>,
    stray_lines: u32,
    /// Bytes of a reason that are more than a usual one has.
    excess: usize,
    sideband: SidebandBudget,
}

impl<'a> ReportLines<'a> {
    fn about(updates: &'a [RefUpdate<'a>], sideband: SidebandBudget) -> Self {
        let names = updates.iter().map(|update| update.name.as_bstr());
        ReportLines {
            updates,
            by_name: names.zip(0..).collect(),
            mentioned: vec![false; updates.len()],
            mentions: 0,
            open: None,
            unpack: None,
            verdicts: vec![Verdict::Silent; updates.len()],
            stray_lines: 0,
            excess: 0,
            sideband,
        }
    }

    /// Takes in all lines up to the flush packet, or as far as they make sense.
    fn read(&mut self, mut from: impl Read) -> Result<(), Trouble> {
        let mut line = Vec::new();
        while next_line(&mut from, &mut line)? {
            let news = self.news();
            self.push(line.trim_end_with(|c| c == '\n').as_bstr())
                .ok_or(Trouble::Garbled)?;
            let excess = mem::take(&mut self.excess);
            if self.news() == news {
                self.sideband
                    .take(line.len())
                    .map_err(Trouble::OverBudget)?;
            } else if excess > 0 {
                self.sideband.take(excess).map_err(Trouble::OverBudget)?;
            }
        }
        // The flush packet says that there are no options to come.
        self.settle();
        Ok(())
    }

    /// `None` if the line breaks the grammar: what follows could mean anything.
    fn push(&mut self, line: &BStr) -> Option<()> {
        let Some(unpack) = &self.unpack else {
            let result = line.strip_prefix(b"unpack ")?;
            self.unpack = Some(match result {
                b"ok" => Ok(()),
                text => Err(printable(text)),
            });
            return Some(());
        };
        let unpacked = unpack.is_ok();
        let (word, rest) = line.split_once_str(" ")?;
        match word {
            b"ok" => {
                self.settle();
                // Without its objects no ref can have moved.
                if let Some(index) = self.mention(rest)?
                    && unpacked
                {
                    self.open = Some(index);
                }
            }
            b"ng" => {
                self.settle();
                let (name, text) = rest.split_once_str(" ").unwrap_or((rest, b""));
                if let Some(index) = self.mention(name)? {
                    let text = printable(text);
                    self.excess = text.len().saturating_sub(USUAL_REASON);
                    self.verdicts[index] = Verdict::Refused(text);
                }
            }
            b"option" => {
                if let Some(index) = self.open
                    && rewrites(rest, &self.updates[index])
                {
                    self.verdicts[index] = Verdict::Rewritten;
                    self.open = None;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A measure of what is known. A line that adds nothing to it is beside the matter.
    fn news(&self) -> (bool, usize) {
        (self.unpack.is_some(), self.mentions)
    }

    /// The update that a line is about, if it is the first line about one.
    fn mention(&mut self, name: &[u8]) -> Option<Option<usize>> {
        let Some(&index) = self.by_name.get(name.as_bstr()) else {
            tracing::debug!(
                name = printable(name),
                "a report on a ref that wasn't pushed"
            );
            self.stray_lines += 1;
            return (self.stray_lines <= MAX_STRAY_LINES).then_some(None);
        };
        if self.mentioned[index] {
            self.verdicts[index] = Verdict::Doubled;
            return Some(None);
        }
        self.mentioned[index] = true;
        self.mentions += 1;
        Some(Some(index))
    }

    fn settle(&mut self) {
        if let Some(index) = self.open.take() {
            self.verdicts[index] = Verdict::Done;
        }
    }

    fn close(self, trouble: Option<Trouble>, messages: Vec<String>) -> Report {
        Report {
            verdicts: self.verdicts,
            has_begun: self.unpack.is_some(),
            unpack_error: self.unpack.and_then(Result::err),
            trouble,
            messages,
        }
    }
}

/// Whether an option behind `ok` says that something else was written than `update`.
fn rewrites(option: &[u8], update: &RefUpdate) -> bool {
    let (key, value) = option.split_once_str(" ").unwrap_or((option, b""));
    let id = || ObjectId::from_hex(value).ok();
    match key {
        b"refname" => value != update.name,
        b"new-oid" => id() != Some(update.new),
        b"old-oid" => id().map(|id| (!id.is_null()).then_some(id)) != Some(update.expected),
        _ => false,
    }
}

#[cfg(test)]
mod tests;

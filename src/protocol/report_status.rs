//! The report of a server on a push (gitprotocol-pack(5), "Report Status").

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

/// The most lines without information before a report counts as malformed.
const MAX_STRAY_LINES: u32 = 100;

/// The length of a refusal's reason in bytes up to which it is free: the bytes beyond it count against
/// [`Limits::noise`](crate::Limits::noise). Reasons of git and of the large forges are shorter.
const USUAL_REASON: usize = 64;

/// The report on a push, up to its end or to an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The verdict on each update, in order.
    pub(crate) verdicts: Vec<Verdict>,
    /// The first line of the report: the server's message if it could not unpack the pack. `None` without any line.
    pub(crate) unpack: Option<Result<(), String>>,
    /// The error that ended the report early.
    pub(crate) trouble: Option<Trouble>,
    /// The lines that the server and its hooks printed.
    pub(crate) messages: Vec<String>,
}

/// The verdict of the server on one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// The server refused the update, with this message, safe to print.
    Refused(String),
    /// No status, or none that can be relied on.
    Silent,
    /// More than one status.
    Doubled,
    /// The server wrote another ref or another object than requested.
    Rewritten,
}

/// Reads the answer to a push, up to its end or to the first error.
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
        // A hook may print after the report. An error there changes nothing.
        drop(bands.finish());
    }
    report.close(trouble, bands.into_messages())
}

/// Reads the answer of a server without `report-status`.
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

/// The error for a report that ends early or is malformed. An error of the side-band takes precedence.
fn unreadable(_: io::Error) -> Trouble {
    Trouble::Garbled
}

/// Reads the next line of a report; false for the flush packet at its end.
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

/// The state of reading a report line by line.
struct ReportLines<'a> {
    updates: &'a [RefUpdate<'a>],
    by_name: HashMap<&'a BStr, usize>,
    mentioned: Vec<bool>,
    mentions: usize,
    /// The update that the last `ok` line was about: option lines after it may change its verdict.
    open: Option<usize>,
    unpack: Option<Result<(), String>>,
    verdicts: Vec<Verdict>,
    stray_lines: u32,
    /// The bytes of the last reason beyond [`USUAL_REASON`].
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

    /// Reads the lines up to the flush packet or to the first error.
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
        // After the flush packet no option line can follow.
        self.settle();
        Ok(())
    }

    /// Adds a line; `None` if it is malformed: no line after it can be relied on.
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
                // After an unpack error no ref can have moved.
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

    /// A measure of the information so far. A line that does not change it counts as one without information.
    fn news(&self) -> (bool, usize) {
        (self.unpack.is_some(), self.mentions)
    }

    /// The update that a status line is about, if it is the first one about it.
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
            unpack: self.unpack,
            trouble,
            messages,
        }
    }
}

/// Whether an option line after `ok` reports another ref or object than `update`.
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

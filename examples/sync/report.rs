//! The stats of a run, or its error, as text.

use std::{
    error::Error as _,
    fmt::Write as _,
    io::{self, Write},
};

use indicatif::HumanBytes;
use refsync::{Error, ObjectId, Outcome, SyncRunRef, SyncRunStats};

/// The largest width of the column of names: one name may have 64 KiB, and there may be a million others.
const WIDEST: usize = 100;

/// The parts of a run that its table shows.
#[derive(Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) dry_run: bool,
    pub(crate) unchanged: bool,
}

/// One line for each ref, then the totals; each is written as it is made.
///
/// A line has the name, the destination's tip before and after the run, the source's tip where that is
/// another one, the outcome and the reason.
pub(crate) fn write_table(stats: &SyncRunStats, shown: Shown, to: impl Write) -> io::Result<()> {
    let mut to = io::BufWriter::new(to);
    let name = |r: SyncRunRef<'_>| printable(&r.name.to_string());
    let refs = || {
        let refs = stats.refs.iter();
        refs.filter(|r| shown.unchanged || !r.outcome.is_unchanged())
    };
    let widths = refs().map(|r| name(r).chars().count());
    let width = widths.max().unwrap_or(0).min(WIDEST);
    for r in refs() {
        writeln!(to, "{}", line(&name(r), width, r).trim_end())?;
    }
    for message in &stats.remote_messages {
        writeln!(to, "remote: {message}")?;
    }
    to.write_all(totals(stats, shown.dry_run).as_bytes())?;
    to.flush()
}

fn line(name: &str, width: usize, r: SyncRunRef<'_>) -> String {
    let before = r.before.map_or("-".to_owned(), short);
    let after = short(r.after);
    let source = if r.source == r.after {
        String::new()
    } else {
        short(r.source)
    };
    let reason = r.outcome.reason().map(|reason| reason.to_string());
    let reason = printable(&reason.unwrap_or_default());
    let outcome = r.outcome.as_str();
    format!("{name:width$}  {before:7}  {after:7}  {source:7}  {outcome:9}  {reason}")
}

fn totals(stats: &SyncRunStats, dry_run: bool) -> String {
    let counts = format!(
        "{} updated, {} unchanged, {} filtered, {} rejected",
        stats.count(Outcome::is_updated),
        stats.count(Outcome::is_unchanged),
        stats.count(Outcome::is_filtered),
        stats.count(Outcome::is_rejected),
    );
    let traffic = stats.traffic;
    let mut text = format!(
        "{counts}; {}, {} sent, {} received, {}\n",
        counted(traffic.requests, "request"),
        HumanBytes(traffic.bytes_sent),
        HumanBytes(traffic.bytes_received),
        counted(traffic.objects, "object"),
    );
    if stats.faulty_objects > 0 {
        writeln!(text, "faulty objects: {}", stats.faulty_objects).expect("memory takes it");
    }
    if dry_run {
        text.insert_str(0, "dry run, nothing was changed: ");
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

fn short(id: ObjectId) -> String {
    match id.is_null() {
        true => "-".to_owned(),
        false => format!("{id:.7}"),
    }
}

/// The text with control characters and bidirectional overrides escaped: names come from the other side, and may contain
/// both.
fn printable(text: &str) -> String {
    let reverses = |c| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut said = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || reverses(c) {
            said.extend(c.escape_default());
        } else {
            said.push(c);
        }
    }
    said
}

/// The error, its causes, and advice.
pub(crate) fn failure(err: &Error) -> String {
    let mut said = printable(&err.to_string());
    let mut text = format!("error: {said}\n");
    let mut cause = err.source();
    while let Some(err) = cause {
        let next = printable(&err.to_string());
        // Some libraries repeat the text of the cause in their own.
        if !said.contains(&next) {
            writeln!(text, "  caused by: {next}").expect("memory takes it");
            said = next;
        }
        cause = err.source();
    }
    text += match err.is_retryable() {
        true => "The same run may succeed later.\n",
        false => "The same run will fail again until something is changed.\n",
    };
    if let Some(wait) = err.retry_after() {
        writeln!(text, "The server asks to wait {} s.", wait.as_secs()).expect("memory takes it");
    }
    text
}

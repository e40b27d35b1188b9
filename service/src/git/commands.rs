//! The commands of a push: the refs that a client wants to move, and those that it did move.

use std::collections::HashMap;

use super::pkt_line::{self, Malformed, Packet};
use crate::records::{PushUpdate, RefAction};

/// The most bytes of all commands of a push, which are kept in memory: those of some 100,000 refs. Git sends 87 bytes
/// and the name for each (151 with SHA-256), so 50,000 refs of 40 bytes are 6 MiB.
const MOST_BYTES: usize = 16 << 20;

/// The commands of a push, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Commands {
    list: Vec<Command>,
    /// Whether the answer is in the packets of a side band.
    pub(super) has_side_band: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Command {
    before: String,
    after: String,
    name: String,
}

/// The reason why the beginning of a push can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is not in the protocol.
    Malformed,
    /// There are too many commands.
    TooLarge,
}

/// The search for the end of the commands in bytes that come in parts.
#[derive(Debug, Default)]
pub(super) struct CommandsEnd(usize);

impl CommandsEnd {
    /// Whether `bytes`, which begin with those of the last call, hold all of the commands.
    pub(super) fn is_in(&mut self, bytes: &[u8]) -> Result<bool, Unreadable> {
        while let Some(rest) = bytes.get(self.0..) {
            match pkt_line::first(rest) {
                Ok(Some((Packet::Flush, _))) => return Ok(true),
                Ok(Some((Packet::Data(_), length))) => self.0 += length,
                Ok(None) if bytes.len() > MOST_BYTES => return Err(Unreadable::TooLarge),
                Ok(None) => return Ok(false),
                Err(Malformed) => return Err(Unreadable::Malformed),
            }
            if self.0 > MOST_BYTES {
                return Err(Unreadable::TooLarge);
            }
        }
        Ok(false)
    }
}

impl Commands {
    /// The commands at the beginning of a push. What is no command is left to git.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut commands = Commands::default();
        for packet in pkt_line::packets(bytes) {
            let Packet::Data(line) = packet else { break };
            let mut parts = line.splitn(2, |b| *b == 0);
            let line = parts.next().unwrap_or_default();
            if let Some(capabilities) = parts.next() {
                let mut words = capabilities.split(u8::is_ascii_whitespace);
                commands.has_side_band = words.any(|word| word == b"side-band-64k");
            }
            commands.list.extend(command(line));
        }
        commands
    }

    /// Whether nothing is to move. Such a request is git's test of its credential.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The refs that have moved. `report` is the answer of receive-pack; a command that it does not tell of has been
    /// followed if `current` gives its ref's new id.
    pub(super) fn updates(
        &self,
        report: &Report,
        current: impl Fn(&str) -> Option<String>,
    ) -> Vec<PushUpdate> {
        let was_followed = |command: &&Command| match report.0.get(&command.name) {
            Some(was_followed) => *was_followed,
            None => match current(&command.name) {
                Some(id) => id == command.after,
                None => is_null(&command.after),
            },
        };
        let moves = self
            .list
            .iter()
            .filter(|command| command.before != command.after);
        moves.filter(was_followed).map(Command::update).collect()
    }

    /// Whether each command is in the report.
    pub(super) fn are_in(&self, report: &Report) -> bool {
        self.list
            .iter()
            .all(|command| report.0.contains_key(&command.name))
    }
}

impl Command {
    fn update(&self) -> PushUpdate {
        let action = if is_null(&self.before) {
            RefAction::Created
        } else if is_null(&self.after) {
            RefAction::Deleted
        } else {
            RefAction::Updated
        };
        let short = ["refs/heads/", "refs/tags/"]
            .iter()
            .find_map(|prefix| self.name.strip_prefix(prefix));
        PushUpdate {
            name: self.name.clone(),
            bookmark: short.unwrap_or(&self.name).to_owned(),
            before: self.before.clone(),
            after: self.after.clone(),
            action,
        }
    }
}

fn is_null(id: &str) -> bool {
    id.bytes().all(|b| b == b'0')
}

/// `old new name` of a line, if it is a command.
fn command(line: &[u8]) -> Option<Command> {
    let line = String::from_utf8_lossy(line);
    let mut words = line.trim_end_matches('\n').splitn(3, ' ');
    let (before, after, name) = (words.next()?, words.next()?, words.next()?);
    let is_id =
        |word: &str| matches!(word.len(), 40 | 64) && word.bytes().all(|b| b.is_ascii_hexdigit());
    (is_id(before) && is_id(after)).then(|| Command {
        before: before.to_owned(),
        after: after.to_owned(),
        name: name.to_owned(),
    })
}

/// The report of receive-pack: whether it has followed the command for each ref.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report(HashMap<String, bool>);

impl Report {
    /// The report in an answer, as far as it is there.
    pub(super) fn of(answer: &[u8], has_side_band: bool) -> Self {
        if !has_side_band {
            return Report::of_lines(answer);
        }
        let mut lines = Vec::new();
        for packet in pkt_line::packets(answer) {
            if let Packet::Data([1, part @ ..]) = packet {
                lines.extend_from_slice(part);
            }
        }
        Report::of_lines(&lines)
    }

    fn of_lines(bytes: &[u8]) -> Self {
        let lines = pkt_line::packets(bytes).filter_map(|packet| match packet {
            Packet::Data(line) => Some(String::from_utf8_lossy(line)),
            Packet::Flush => None,
        });
        let statuses = lines.filter_map(|line| {
            let mut words = line.trim_end_matches('\n').splitn(2, ' ');
            match (words.next()?, words.next()?) {
                ("ok", name) => Some((name.to_owned(), true)),
                ("ng", rest) => Some((rest.split(' ').next()?.to_owned(), false)),
                _ => None,
            }
        });
        Report(statuses.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{:04x}{text}", text.len() + 4).into_bytes()
    }

    fn push() -> Vec<u8> {
        let (null, one, two) = ("0".repeat(40), "1".repeat(40), "2".repeat(40));
        let mut bytes = line(&format!("shallow {one}"));
        bytes.extend(line(&format!(
            "{null} {one} refs/heads/new\0 report-status side-band-64k agent=x"
        )));
        bytes.extend(line(&format!("{one} {two} refs/heads/moved\n")));
        bytes.extend(line(&format!("{two} {null} refs/tags/gone")));
        bytes.extend(b"0000PACK....");
        bytes
    }

    fn names(updates: &[PushUpdate]) -> Vec<(&str, &str, RefAction)> {
        updates
            .iter()
            .map(|u| (u.name.as_str(), u.bookmark.as_str(), u.action))
            .collect()
    }

    #[test]
    fn the_end_of_the_commands_is_found_in_parts() {
        let bytes = push();
        let end = bytes.len() - b"PACK....".len();
        let mut search = CommandsEnd::default();
        for length in 0..end {
            assert_eq!(search.is_in(&bytes[..length]), Ok(false), "{length}");
        }
        assert_eq!(search.is_in(&bytes[..end]), Ok(true));
        assert_eq!(
            CommandsEnd::default().is_in(b"PACK"),
            Err(Unreadable::Malformed)
        );
        let many = line(&"x".repeat(60_000)).repeat(1_200);
        assert_eq!(
            CommandsEnd::default().is_in(&many),
            Err(Unreadable::TooLarge)
        );
    }

    #[test]
    fn the_report_decides_and_otherwise_the_refs() {
        let commands = Commands::of(&push());
        assert!(commands.has_side_band);
        let new = ("refs/heads/new", "new", RefAction::Created);
        let moved = ("refs/heads/moved", "moved", RefAction::Updated);
        let gone = ("refs/tags/gone", "gone", RefAction::Deleted);

        let inner = [
            line("unpack ok\n"),
            line("ok refs/heads/new\n"),
            line("ng refs/heads/moved non-fast-forward\n"),
            line("ok refs/tags/gone\n"),
            b"0000".to_vec(),
        ]
        .concat();
        let (start, end) = inner.split_at(20);
        let band =
            |number: &str, part: &[u8]| line(&format!("{number}{}", String::from_utf8_lossy(part)));
        let answer = [
            band("\u{1}", start),
            band("\u{2}", b"a message"),
            band("\u{1}", end),
        ]
        .concat();
        let report = Report::of(&answer, true);
        assert_eq!(report, Report::of(&inner, false));
        assert!(commands.are_in(&report));
        let updates = commands.updates(&report, |_| None);
        assert_eq!(names(&updates), [new, gone]);

        let cut = Report::of(&answer[..30], true);
        assert!(!commands.are_in(&cut));
        let updates = commands.updates(&Report::default(), |name| {
            (name == "refs/heads/moved").then(|| "2".repeat(40))
        });
        assert_eq!(names(&updates), [moved, gone]);
    }

    #[test]
    fn a_test_of_a_credential_has_no_commands() {
        assert!(Commands::of(b"0000").is_empty());
    }
}

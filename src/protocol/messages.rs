//! The text that a remote prints during a push, from the second side-band.

use super::safe_chars;

/// The number of lines that are kept.
const MAX_LINES: usize = 20;

/// The most bytes of all lines that are kept, with a line feed for each.
const MAX_BYTES: usize = 4096;

/// The first lines of a remote's text, safe to print. A packet may end within a line.
///
/// Empty lines are left out, and so is progress: text that ends with a carriage return.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    lines: Vec<String>,
    bytes: usize,
    /// The current line, which has not ended yet.
    open: Vec<u8>,
    /// Whether the last byte was a carriage return.
    returned: bool,
}

impl Messages {
    /// Adds the text of one packet.
    pub(crate) fn push(&mut self, text: &[u8]) {
        for &byte in text {
            if self.is_full() {
                return;
            }
            match byte {
                b'\n' => self.end_line(),
                b'\r' => self.returned = true,
                _ => self.push_byte(byte),
            }
        }
    }

    /// The lines, including an unterminated last one.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.end_line();
        self.lines
    }

    fn is_full(&self) -> bool {
        self.lines.len() == MAX_LINES || self.bytes + 1 >= MAX_BYTES
    }

    fn push_byte(&mut self, byte: u8) {
        if std::mem::take(&mut self.returned) {
            self.open.clear();
        }
        if self.open.len() < MAX_BYTES {
            self.open.push(byte);
        }
    }

    fn end_line(&mut self) {
        self.returned = false;
        let text = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(&text);
        if text.trim().is_empty() || self.is_full() {
            return;
        }
        let mut room = MAX_BYTES - self.bytes - 1;
        let fits = |c: &char| {
            let left = room.checked_sub(c.len_utf8());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let line: String = safe_chars(text.trim()).take_while(fits).collect();
        self.bytes += line.len() + 1;
        self.lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(packets: &[&[u8]]) -> Vec<String> {
        let mut messages = Messages::default();
        packets.iter().for_each(|packet| messages.push(packet));
        messages.finish()
    }

    #[test]
    fn lines_are_put_together_from_packets() {
        let cases: [(&[&[u8]], &[&str]); 8] = [
            (&[], &[]),
            (&[b"\n\n", b" \n"], &[]),
            (&[b"one\ntwo"], &["one", "two"]),
            (&[b"on", b"e\n", b"two\n"], &["one", "two"]),
            (&[b"one\r\ntwo\r", b"\n"], &["one", "two"]),
            (
                &[b"Unpacking: 50%\rUnpacking: 100%, done.\n"],
                &["Unpacking: 100%, done."],
            ),
            (&[b"the last words\r"], &["the last words"]),
            (
                &[b"\x1b[31mred\x07\n", "left\u{202e}tfel\u{9b}".as_bytes()],
                &[" [31mred ", "left tfel "],
            ),
        ];
        for (packets, expected) in cases {
            assert_eq!(lines(packets), expected, "{packets:?}");
        }
    }

    #[test]
    fn there_are_at_most_twenty_lines() {
        let kept = lines(&[&b"no\n".repeat(1000)]);
        assert_eq!(kept, ["no"; 20]);
    }

    #[test]
    fn there_are_at_most_four_kibibytes() {
        for packet in ["x".repeat(70_000), "€uro\n".repeat(10) + &"€".repeat(5000)] {
            let kept = lines(&[packet.as_bytes(), packet.as_bytes()]).join("\n");
            assert!((4090..=4096).contains(&kept.len()), "{}", kept.len());
        }
    }
}

//! Git's wire grammar as pure functions over bytes. Nothing here touches a socket.

pub(crate) mod fetch;
pub(crate) mod greeting;
pub(crate) mod ls_refs;
pub(crate) mod messages;
pub(crate) mod noise;
pub(crate) mod pkt_line;
pub(crate) mod receive_pack;
pub(crate) mod ref_line;
pub(crate) mod report_status;
pub(crate) mod side_band;

use std::io;

use crate::{Error, ErrorKind};

/// How much of a remote's words is passed on, in characters.
const MAX_REMOTE_TEXT: usize = 400;

/// What a server says in an `ERR` packet, which is then all of its answer (gitprotocol-common(5)).
pub(crate) fn refused(text: &[u8]) -> Error {
    let text = format!("the server refused: {}", printable(text));
    Error::new(ErrorKind::Remote, text)
}

/// Refs that a server lists can't be read as packets.
fn unreadable(err: io::Error) -> Error {
    Error::new(ErrorKind::Protocol, "listing refs failed").with_source(err)
}

/// What a remote said, made safe to print: one line, no control characters, of bounded length.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    safe_chars(text.trim()).take(MAX_REMOTE_TEXT).collect()
}

/// The same of any length.
fn safe_chars(text: &str) -> impl Iterator<Item = char> {
    let is_unsafe = |c: char| c.is_control() || is_invisible(c);
    text.chars()
        .map(move |c| if is_unsafe(c) { ' ' } else { c })
}

/// Characters that change how the text around them is shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_a_remote_says_cannot_play_tricks_on_a_terminal() {
        assert_eq!(printable(b"  access denied\n"), "access denied");
        assert_eq!(printable(b"\x1b[31mred\x07"), " [31mred ");
        assert_eq!(printable(b"a\r\nb\tc"), "a  b c");
        assert_eq!(printable("left\u{202e}tfel".as_bytes()), "left tfel");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
        assert_eq!(printable(&[b'x'; 5000]).len(), 400);
    }
}

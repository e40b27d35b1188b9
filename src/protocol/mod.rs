//! Git's wire protocol as pure functions over bytes and readers. Nothing here uses a socket.

pub(crate) mod advertisement;
pub(crate) mod capabilities;
pub(crate) mod fetch;
pub(crate) mod ls_refs;
pub(crate) mod messages;
pub(crate) mod pkt_line;
pub(crate) mod receive_pack;
pub(crate) mod ref_line;
pub(crate) mod report_status;
pub(crate) mod side_band;
pub(crate) mod sideband_budget;

use std::io;

use crate::{Error, ErrorKind, text::is_unsafe};

/// The most characters of a remote's text that are passed on.
const MAX_REMOTE_TEXT: usize = 400;

/// The error for an `ERR` packet, which ends an answer (gitprotocol-common(5)).
pub(crate) fn refused(text: &[u8]) -> Error {
    let text = format!("the server refused: {}", printable(text));
    Error::new(ErrorKind::Remote, text)
}

/// The error for a listing that is no sequence of packets.
fn unreadable(err: io::Error) -> Error {
    not_packets("listing refs failed", err)
}

/// The error for an answer that is no sequence of packets, or ends early.
fn not_packets(failed: &str, err: io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::UnexpectedEof => ended_early(),
        _ => Error::new(ErrorKind::Protocol, failed).with_source(err),
    }
}

/// The error for an answer that ends early within valid HTTP framing: the git process died, and the proxy passed on its
/// output so far.
pub(crate) fn ended_early() -> Error {
    Error::new(ErrorKind::Network, "the answer ended early")
}

/// A text of a remote, made safe to print: one line, no control characters, of bounded length.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    safe_chars(text.trim()).take(MAX_REMOTE_TEXT).collect()
}

/// The characters of a text of any length, made safe to print.
fn safe_chars(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if is_unsafe(c) { ' ' } else { c })
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

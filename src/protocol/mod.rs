//! Git's wire grammar as pure functions over bytes. Nothing here touches a socket.

pub(crate) mod fetch;
pub(crate) mod noise;
pub(crate) mod pkt_line;
pub(crate) mod receive_pack;
pub(crate) mod ref_line;
pub(crate) mod report_status;
pub(crate) mod side_band;

/// How much of a remote's words is passed on, in characters.
const MAX_REMOTE_TEXT: usize = 400;

/// The text of an `ERR` packet at the start of an answer, which is then all of it
/// (gitprotocol-common(5)).
pub(crate) fn err_packet(answer: &[u8]) -> Option<&[u8]> {
    let (length, rest) = answer.split_first_chunk::<4>()?;
    let length = usize::from_str_radix(str::from_utf8(length).ok()?, 16).ok()?;
    rest.get(..length.checked_sub(4)?)?.strip_prefix(b"ERR ")
}

/// What a remote said, made safe to print: one line, no control characters, of bounded length.
pub(crate) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let is_unsafe = |c: char| c.is_control() || is_invisible(c);
    let safe = text
        .trim()
        .chars()
        .map(|c| if is_unsafe(c) { ' ' } else { c });
    safe.take(MAX_REMOTE_TEXT).collect()
}

/// Characters that change how the text around them is shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{err_packet, printable};

    #[test]
    fn an_err_packet_is_told_from_the_rest() {
        assert_eq!(err_packet(b"000bERR no!"), Some(&b"no!"[..]));
        assert_eq!(err_packet(b"000bERR no!0000"), Some(&b"no!"[..]));
        assert_eq!(err_packet(b"000cERR no!"), None, "cut off");
        for other in [
            &b"0000"[..],
            b"",
            b"ERR no!",
            b"0003ERR ",
            b"000dpackfile\n",
            b"zzzzERR no!",
        ] {
            assert_eq!(err_packet(other), None, "{other:?}");
        }
    }

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

//! Packets, read in the plainest way.

/// A packet as it stands in a stream, read in the plainest way (gitprotocol-common(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Data(&'a [u8]),
    Flush,
    Delimiter,
    ResponseEnd,
    /// The bytes of a packet that is cut off behind its length.
    Cut(&'a [u8]),
    /// The stream ends within a length, or before it.
    End,
    Garbled,
}

/// The last one is that where it can't go on.
pub(super) fn frames(mut stream: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    loop {
        let Some((head, rest)) = stream.split_first_chunk::<4>() else {
            frames.push(Frame::End);
            return frames;
        };
        let is_hex = head.iter().all(u8::is_ascii_hexdigit);
        let length = str::from_utf8(head)
            .ok()
            .filter(|_| is_hex)
            .and_then(|hex| usize::from_str_radix(hex, 16).ok());
        stream = rest;
        frames.push(match length {
            Some(0) => Frame::Flush,
            Some(1) => Frame::Delimiter,
            Some(2) => Frame::ResponseEnd,
            Some(length @ 5..=65_520) => match rest.split_at_checked(length - 4) {
                Some((data, rest)) => {
                    stream = rest;
                    Frame::Data(data)
                }
                None => {
                    frames.push(Frame::Cut(rest));
                    return frames;
                }
            },
            _ => {
                frames.push(Frame::Garbled);
                return frames;
            }
        });
    }
}

pub(super) fn without_newlines(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_suffix(b"\n") {
        line = rest;
    }
    line
}

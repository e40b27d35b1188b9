//! Pkt-lines (gitprotocol-common(5)).

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// The end of a list.
    Flush,
    /// A line.
    Data(&'a [u8]),
}

/// The bytes are no pkt-line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The first packet of `bytes` and its length with the prefix; `None` while it is not complete.
pub(super) fn first(bytes: &[u8]) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let Some(prefix) = bytes.get(..4) else {
        return Ok(None);
    };
    if !prefix.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    let digits = std::str::from_utf8(prefix).map_err(|_| Malformed)?;
    match usize::from_str_radix(digits, 16).map_err(|_| Malformed)? {
        0 => Ok(Some((Packet::Flush, 4))),
        1..4 => Err(Malformed),
        length => Ok(bytes
            .get(4..length)
            .map(|data| (Packet::Data(data), length))),
    }
}

/// The complete packets of `bytes` up to the first byte that is none.
pub(super) fn packets(mut bytes: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    std::iter::from_fn(move || {
        let (packet, length) = first(bytes).ok()??;
        bytes = &bytes[length..];
        Some(packet)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_at_their_lengths() {
        for (bytes, found) in [
            (&b""[..], Ok(None)),
            (b"000", Ok(None)),
            (b"0000x", Ok(Some((Packet::Flush, 4)))),
            (b"0005ax", Ok(Some((Packet::Data(b"a"), 5)))),
            (b"0004", Ok(Some((Packet::Data(b""), 4)))),
            (b"0006a", Ok(None)),
            (b"0002", Err(Malformed)),
            (b"+005a", Err(Malformed)),
            (b"PACK", Err(Malformed)),
        ] {
            assert_eq!(first(bytes), found, "{bytes:?}");
        }
    }
}

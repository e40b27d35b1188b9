//! The frame around everything that a server says (gitprotocol-common(5), "pkt-line Format").

use std::io::{self, Read};

use gix_transport::packetline::{
    PacketLineRef,
    decode::{PacketLineOrWantedSize, hex_prefix},
};

/// The most that a packet holds.
const MAX_DATA_LEN: usize = 65_516;

/// The head of a packet, with what follows it still unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// So many bytes follow.
    Data(usize),
    Flush,
    Delimiter,
    ResponseEnd,
}

/// Reads the head of the next packet. The end of the answer is an error.
pub(crate) fn read_head(from: &mut impl Read) -> io::Result<Packet> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    match hex_prefix(&head) {
        Ok(PacketLineOrWantedSize::Line(PacketLineRef::Flush)) => Ok(Packet::Flush),
        Ok(PacketLineOrWantedSize::Line(PacketLineRef::Delimiter)) => Ok(Packet::Delimiter),
        Ok(PacketLineOrWantedSize::Line(PacketLineRef::ResponseEnd)) => Ok(Packet::ResponseEnd),
        Ok(PacketLineOrWantedSize::Wanted(bytes)) if usize::from(bytes) <= MAX_DATA_LEN => {
            Ok(Packet::Data(bytes.into()))
        }
        _ => Err(garbled("a packet has a length that makes no sense")),
    }
}

pub(crate) fn garbled(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_packets() {
        let table: [(&[u8], Option<Packet>); 14] = [
            (b"0000", Some(Packet::Flush)),
            (b"0001", Some(Packet::Delimiter)),
            (b"0002", Some(Packet::ResponseEnd)),
            (b"0003", None),
            (b"0004", None),
            (b"0005", Some(Packet::Data(1))),
            (b"fff0", Some(Packet::Data(65_516))),
            (b"FFF0", Some(Packet::Data(65_516))),
            (b"fff1", None),
            (b"ffff", None),
            (b"-001", None),
            (b"+001", None),
            (b"zzzz", None),
            (b"000", None),
        ];
        for (mut bytes, expected) in table {
            let text = String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(read_head(&mut bytes).ok(), expected, "{text}");
        }
    }
}

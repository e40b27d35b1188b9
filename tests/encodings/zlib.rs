//! Ways to write a zlib stream (RFC 1950, RFC 1951), good ones and bad ones.

use crate::pack::deflate;
use gix::zlib::stream::deflate::{Compress, FlushCompress};
use gix::zlib::{Compression, Status};

type Change = fn(&mut Vec<u8>);

/// All of them for a content, each with a name.
pub(crate) fn streams(content: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = (0..=9)
        .map(|level| (format!("level {level}"), at_level(level, content)))
        .collect();
    let stored = |sizes: usize| blocks(content.chunks(sizes.max(1)).map(<[u8]>::to_vec).collect());
    all.extend([
        ("stored in one block".to_owned(), stored(65_535)),
        ("stored byte by byte".to_owned(), stored(1)),
        ("stored between empty blocks".to_owned(), {
            let pieces = content
                .chunks(60_000)
                .flat_map(|piece| [&[][..], piece, &[]]);
            blocks(pieces.map(<[u8]>::to_vec).collect())
        }),
        ("stored with an empty last block".to_owned(), {
            let pieces = content.chunks(60_000).chain([&[][..]]);
            blocks(pieces.map(<[u8]>::to_vec).collect())
        }),
    ]);
    // The window's size: what it says is not held against the distances, unless it is too large.
    for bits in 0..16 {
        let stream = with_header(deflate_far(content), bits << 4 | 8, 0);
        all.push((format!("a window of {} bits", bits + 8), stream));
    }
    for level in 0..4 {
        let stream = with_header(deflate_far(content), 0x78, level << 6);
        all.push((format!("said to be of level {level}"), stream));
    }
    all.push((
        "a preset dictionary".to_owned(),
        with_header(deflate_far(content), 0x78, 0x20),
    ));
    all.push((
        "another method".to_owned(),
        with_header(deflate_far(content), 0x77, 0),
    ));
    let changes: [(&str, Change); 8] = [
        ("a wrong check of its header", |stream| stream[1] ^= 1),
        ("a wrong checksum", |stream| {
            *stream.last_mut().expect("a byte") ^= 1
        }),
        ("no checksum", |stream| stream.truncate(stream.len() - 4)),
        ("half a checksum", |stream| {
            stream.truncate(stream.len() - 2)
        }),
        ("a byte after it", |stream| stream.push(0)),
        ("another stream after it", |stream| {
            stream.extend(deflate(b""))
        }),
        ("no header", |stream| drop(stream.drain(..2))),
        ("nothing", Vec::clear),
    ];
    for (name, change) in changes {
        let mut stream = deflate(content);
        change(&mut stream);
        all.push((name.to_owned(), stream));
    }
    all
}

pub(crate) fn at_level(level: i32, content: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::new(level as _).expect("a level"));
    let mut out = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        let (read, written) = (state.total_in() as usize, state.total_out());
        let status = state
            .compress(&content[read..], &mut room, FlushCompress::Finish)
            .expect("a whole state");
        out.extend_from_slice(&room[..(state.total_out() - written) as usize]);
        if status == Status::StreamEnd {
            return out;
        }
    }
}

/// With distances as far as the content has them.
fn deflate_far(content: &[u8]) -> Vec<u8> {
    at_level(9, content)
}

fn with_header(mut stream: Vec<u8>, method: u8, flags: u8) -> Vec<u8> {
    let check = 31 - (u16::from(method) << 8 | u16::from(flags)) % 31;
    stream[0] = method;
    stream[1] = flags + (check % 31) as u8;
    stream
}

/// Stored blocks of these contents, of which there is at least one.
fn blocks(mut pieces: Vec<Vec<u8>>) -> Vec<u8> {
    if pieces.is_empty() {
        pieces.push(Vec::new());
    }
    let content = pieces.concat();
    let mut stream = vec![0x78, 0x01];
    for (at, piece) in pieces.iter().enumerate() {
        let length = piece.len() as u16;
        stream.push(u8::from(at + 1 == pieces.len()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(piece);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &content {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

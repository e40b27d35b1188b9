//! Deltas and streams, decoded by other means than the crate's own.

use gix::zlib::Status;

/// The object that git makes of a delta; `None` if git would refuse the delta.
pub(crate) fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut rest = delta;
    if take_size(&mut rest)? != base.len() {
        return None;
    }
    let size = take_size(&mut rest)?;
    let mut target = Vec::new();
    while let Some((&instruction, after)) = rest.split_first() {
        rest = after;
        if instruction & 0x80 == 0 {
            let (bytes, after) = rest.split_at_checked(instruction.into())?;
            if bytes.is_empty() {
                return None;
            }
            target.extend_from_slice(bytes);
            rest = after;
            continue;
        }
        let mut fields = [0; 7];
        for (bit, field) in fields.iter_mut().enumerate() {
            if instruction & 1 << bit != 0 {
                (*field, rest) = rest.split_first().map(|(byte, rest)| (*byte, rest))?;
            }
        }
        let [o0, o1, o2, o3, s0, s1, s2] = fields;
        let offset = u32::from_le_bytes([o0, o1, o2, o3]) as usize;
        let length = match u32::from_le_bytes([s0, s1, s2, 0]) {
            0 => 0x10000,
            length => length as usize,
        };
        target.extend_from_slice(base.get(offset..offset + length)?);
    }
    (target.len() == size).then_some(target)
}

fn take_size(rest: &mut &[u8]) -> Option<usize> {
    let mut size = 0;
    for shift in (0..).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        size |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(size)
}

/// The content of a stream of that many bytes, with nothing after it.
pub(crate) fn inflate(stream: &[u8], size: usize) -> Vec<u8> {
    let mut content = vec![0; size + 1];
    let (status, read, written) = gix::zlib::Inflate::default()
        .once(stream, &mut content)
        .expect("a zlib stream");
    assert_eq!(
        (status, read, written),
        (Status::StreamEnd, stream.len(), size)
    );
    content.truncate(size);
    content
}

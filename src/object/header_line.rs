//! The header lines of commits and tags.

use gix::ObjectId;

/// The id in a header line `<start><id>` at the start of `text`, and the text behind that line. `None` if
/// nothing follows the line: git refuses such an object.
pub(super) fn id_line<'a>(
    start: &str,
    text: &'a [u8],
    format: gix::hash::Kind,
) -> Option<(ObjectId, &'a [u8])> {
    let line = text.strip_prefix(start.as_bytes())?;
    let (id, rest) = line.split_at_checked(format.len_in_hex())?;
    let rest = rest.strip_prefix(b"\n").filter(|rest| !rest.is_empty())?;
    Some((ObjectId::from_hex(id).ok()?, rest))
}

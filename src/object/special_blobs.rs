//! The blobs that trees name `.gitmodules` or `.gitattributes`, read for fsck.

use gix::{objs::Kind, oid};

use super::{fsck::SpecialContent, lookup::ObjectLookup};

/// The largest such blob that is read, in bytes: git reads no larger one.
const MAX_SPECIAL_SIZE: u64 = 100 * 1024 * 1024;

pub(crate) fn special_content<'b>(
    objects: &dyn ObjectLookup,
    id: &oid,
    buffer: &'b mut Vec<u8>,
) -> SpecialContent<'b> {
    match objects.try_header(id) {
        Ok(Some(header)) if header.kind != Kind::Blob => SpecialContent::OtherKind,
        Ok(Some(header)) if header.size > MAX_SPECIAL_SIZE => SpecialContent::TooLarge,
        Ok(Some(_)) => match objects.try_find(id, buffer) {
            Ok(Some(blob)) => SpecialContent::Blob(blob.data),
            Ok(None) | Err(_) => SpecialContent::Missing,
        },
        Ok(None) | Err(_) => SpecialContent::Missing,
    }
}

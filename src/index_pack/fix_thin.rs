//! Completing a pack (`git index-pack --fix-thin`): appends the bases that a thin pack lacks, and the trailer.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::atomic::AtomicBool,
};

use gix::{ObjectId, objs::Kind};
use gix_pack::data;

use super::{
    delta_batch::DeltaBatch,
    inflated_cache::InflatedCache,
    pack_reader::collision,
    ref_deltas::RefDeltas,
    resolving::{Pack, Resolver},
    table::{Base, Table},
};
use crate::{
    Error, ErrorKind, SyncContext,
    object::lookup::ObjectLookup,
    pack::{deflate::Deflater, entry_header::header_of},
};

/// Appends the bases that a thin pack lacks, as whole objects, and resolves the deltas of each. Returns the number of
/// appended bases.
///
/// The deltas whose bases are in the pack must be resolved before. A base that is left then is absent from the pack,
/// or a delta that is not resolved. If the store lacks it as well, its deltas stay unresolved.
pub(super) fn add_bases(
    pack: &mut Pack<'_>,
    batch: &DeltaBatch,
    inflated: &InflatedCache<'_>,
    ref_deltas: &RefDeltas,
    bases: &dyn ObjectLookup,
) -> Result<usize, Error> {
    let absent = ref_deltas.absent_bases();
    if absent.is_empty() {
        return Ok(0);
    }
    pack.table.extend(absent.len());
    let pack = &*pack;
    let mut file = File::options()
        .append(true)
        .open(pack.path)
        .map_err(completing)?;
    let content_memory = pack.content_memory(1);
    let mut traversal = pack.traversal(&content_memory)?;
    let mut inspection = pack.findings.inspection();
    let mut deflater = Deflater::quick();
    let (mut added, mut size) = (0, 0);
    for base in absent {
        pack.context.check()?;
        // The deltas of an earlier base may have reconstructed this object.
        if ref_deltas.are_taken(&base) {
            continue;
        }
        // Checked before the object is read: an object of the store may exceed any limit.
        let Ok(Some(header)) = bases.try_header(&base) else {
            continue;
        };
        size += header.size;
        pack.budget.check_bases(size)?;
        let mut content = Vec::new();
        let kind = match bases.try_find(&base, &mut content) {
            Ok(Some(found)) => found.kind,
            Ok(None) => continue,
            // Its stored delta chain needs more memory than there is. The caller requests a pack that is not thin.
            Err(err) if err.is_resource_exhausted() => {
                let what = format_args!("the memory to read {base}");
                return Err(Error::over_budget("thin_bases", what).with_source(err));
            }
            Err(err) => {
                let text = format!("{base}, which the pack builds on, can't be read");
                return Err(Error::new(ErrorKind::Corrupt, text).with_source(err));
            }
        };
        check_base(&base, kind, &content)?;
        let start = pack.table.end();
        let (length, checksum) = append(&mut file, kind, &content, &mut deflater, pack.context)?;
        pack.budget.check_disk(start + length)?;
        let entry = pack
            .table
            .push(start..start + length, checksum, Base::None, header.size);
        // Done before the traversal, so that the visitor does not inspect an object of the receiver.
        pack.table.resolve(entry, kind, &base);
        added += 1;
        let mut resolver = Resolver {
            pack,
            batch,
            inflated,
            ref_deltas: Some(ref_deltas),
            is_given_up: &AtomicBool::new(false),
            inspection: &mut inspection,
        };
        traversal.traverse_from(entry, kind, content, &mut resolver)?;
    }
    inspection.finish()?;
    Ok(added)
}

/// Checks that a base has the id that names it. No other step checks objects of the receiver, and a damaged base would
/// make a pack that git cannot read.
fn check_base(base: &ObjectId, kind: Kind, content: &[u8]) -> Result<(), Error> {
    let id = gix::objs::compute_hash(base.kind(), kind, content).map_err(|_| collision())?;
    if id == *base {
        return Ok(());
    }
    let text = format!("{base}, which the pack builds on, is damaged in the receiver's store");
    Err(Error::new(ErrorKind::Corrupt, text))
}

/// Appends an entry, and returns its length and its CRC-32.
fn append(
    file: &mut File,
    kind: Kind,
    content: &[u8],
    deflater: &mut Deflater,
    context: &SyncContext,
) -> Result<(u64, u32), Error> {
    let mut piece = Vec::new();
    header_of(kind)
        .write_to(content.len() as u64, &mut piece)
        .map_err(completing)?;
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    let mut done = 0;
    loop {
        context.check()?;
        let goes_on = deflater.step(content, &mut done, &mut piece);
        file.write_all(&piece).map_err(completing)?;
        checksum.update(&piece);
        length += piece.len() as u64;
        piece.clear();
        if !goes_on {
            return Ok((length, checksum.finalize()));
        }
    }
}

/// Writes the trailer that the pack arrived with.
pub(super) fn write_trailer(path: &Path, checksum: ObjectId) -> Result<ObjectId, Error> {
    let mut file = File::options()
        .append(true)
        .open(path)
        .map_err(completing)?;
    file.write_all(checksum.as_bytes()).map_err(completing)?;
    Ok(checksum)
}

/// Writes a new count and a new trailer for a pack with appended bases. The checksum covers the count, so the whole
/// pack is hashed again.
pub(super) fn rewrite_trailer(
    path: &Path,
    table: &Table,
    context: &SyncContext,
) -> Result<ObjectId, Error> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(completing)?;
    let header = data::header::encode(data::Version::V2, table.len());
    file.write_all(&header).map_err(completing)?;
    file.seek(SeekFrom::Start(0)).map_err(completing)?;
    let mut hasher = gix::hash::hasher(table.hash);
    let mut chunk = vec![0; 1024 * 1024];
    loop {
        context.check()?;
        let read = file.read(&mut chunk).map_err(completing)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
    }
    let checksum = hasher.try_finalize().map_err(|_| collision())?;
    file.write_all(checksum.as_bytes()).map_err(completing)?;
    Ok(checksum)
}

fn completing(err: io::Error) -> Error {
    Error::io("completing the pack", err)
}

//! The object directories that a run reads, without the packs that git refuses to open.
//!
//! For git the objects in such a pack do not exist. A run treats them in the same way and fetches them again.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::alternates::{alternates_file, lead_back};
use crate::{
    Error, ObjectFormat,
    files::{sharing::Sharing, temp_dirs::RunFolder},
    stored_packs::readable_indices,
};

/// The `objects` folders of the store and its alternates. A folder with a pack that git refuses is replaced by a
/// temporary one with links to the other files.
pub(super) struct ObjectDirs {
    folders: Vec<PathBuf>,
    _stand_ins: Option<RunFolder>,
}

impl ObjectDirs {
    pub(super) fn of(
        objects: &Path,
        alternates: &[PathBuf],
        format: ObjectFormat,
        sharing: Sharing,
    ) -> Result<Self, Error> {
        let mut all = vec![objects.to_owned()];
        all.extend_from_slice(alternates);
        let id_len = format.hash_kind().len_in_bytes();
        let is_sound = |folder: &PathBuf| packs(folder).all(|index| is_opened(&index, id_len));
        if all.iter().all(is_sound) && !lead_back(objects) {
            return Ok(ObjectDirs {
                folders: all,
                _stand_ins: None,
            });
        }
        stand_in_for(&all, id_len, objects, sharing)
            .map_err(|err| Error::io("keeping away from packs that git refuses", err))
    }

    /// The folders of a source whose alternates form a loop, replaced by temporary ones without alternates.
    pub(super) fn of_loop(
        objects: &Path,
        alternates: &[PathBuf],
        format: ObjectFormat,
    ) -> Result<Self, Error> {
        let all = [&[objects.to_owned()], alternates].concat();
        let id_len = format.hash_kind().len_in_bytes();
        stand_in_for(&all, id_len, &env::temp_dir(), Sharing::Umask)
            .map_err(|err| Error::io("keeping out of a loop of alternates", err))
    }

    /// The directory through which the objects of all folders are read.
    pub(super) fn main(&self) -> &Path {
        &self.folders[0]
    }

    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

fn stand_in_for(
    all: &[PathBuf],
    id_len: usize,
    parent: &Path,
    sharing: Sharing,
) -> io::Result<ObjectDirs> {
    let folder = RunFolder::create(parent, sharing)?;
    let numbers = 0..all.len();
    let folders: Vec<_> = numbers
        .map(|number| folder.path().join(number.to_string()))
        .collect();
    for (objects, stand_in) in all.iter().zip(&folders) {
        link_objects(objects, stand_in, id_len)?;
    }
    fs::create_dir(folders[0].join("info"))?;
    let others = alternates_file(&folders[1..])?;
    fs::write(folders[0].join("info/alternates"), others)?;
    Ok(ObjectDirs {
        folders,
        _stand_ins: Some(folder),
    })
}

/// Makes a folder with the loose objects of another one and the packs that git opens.
fn link_objects(objects: &Path, to: &Path, id_len: usize) -> io::Result<()> {
    fs::create_dir_all(to.join("pack"))?;
    for entry in objects.read_dir().into_iter().flatten() {
        let entry = entry?;
        if entry.file_name().len() == 2 {
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    for index in packs(objects) {
        if !is_opened(&index, id_len) {
            tracing::warn!(index = %index.display(), "git refuses this pack");
            continue;
        }
        for extension in ["pack", "rev", "bitmap", "idx"] {
            let file = index.with_extension(extension);
            if !file.exists() {
                continue;
            }
            let name = file.file_name().unwrap_or_default();
            // A hard link survives a repack.
            let linked = fs::hard_link(&file, to.join("pack").join(name));
            linked.or_else(|_| link(&file, &to.join("pack").join(name)))?;
        }
    }
    Ok(())
}

fn link(original: &Path, link: &Path) -> io::Result<()> {
    let original = std::path::absolute(original)?;
    #[cfg(unix)]
    return std::os::unix::fs::symlink(original, link);
    #[cfg(windows)]
    return std::os::windows::fs::symlink_dir(original, link);
}

/// The indices of the packs in a folder of objects.
fn packs(objects: &Path) -> impl Iterator<Item = PathBuf> {
    let has_pack = |index: &PathBuf| index.with_extension("pack").exists();
    readable_indices(&objects.join("pack")).filter(has_pack)
}

/// The indices of the packs in a folder of objects that git opens.
pub(super) fn sound_packs(objects: &Path, format: ObjectFormat) -> impl Iterator<Item = PathBuf> {
    let id_len = format.hash_kind().len_in_bytes();
    packs(objects).filter(move |index| is_opened(index, id_len))
}

/// Whether git opens a pack. A pack that has been removed counts as sound.
fn is_opened(index: &Path, id_len: usize) -> bool {
    let fits = || {
        let pack = index.with_extension("pack");
        let index = Ends::read(index, INDEX_HEADER + FAN_OUT, 2 * id_len, id_len)?;
        let pack = Ends::read(&pack, PACK_HEADER, id_len, id_len)?;
        Ok(do_fit(&index, &pack, id_len))
    };
    fits().unwrap_or_else(|err: io::Error| err.kind() == io::ErrorKind::NotFound)
}

/// The bytes of an index or a pack that git reads when it opens a pack.
struct Ends {
    /// The first bytes of the file, fewer if it is shorter.
    start: Vec<u8>,
    /// The checksum of the pack.
    checksum: Vec<u8>,
    size: u64,
}

/// A pack's signature, version and count (gitformat-pack(5)).
const PACK_HEADER: usize = 12;
/// The length of the signature and version of an index (version 1 has none), and of its fan-out table.
const INDEX_HEADER: usize = 8;
const FAN_OUT: usize = 4 * 256;

impl Ends {
    /// The first `start` bytes, and the checksum that begins `from_end` bytes before the end.
    fn read(path: &Path, start: usize, from_end: usize, id_len: usize) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut ends = Ends {
            start: Vec::new(),
            checksum: Vec::new(),
            size,
        };
        Read::by_ref(&mut file)
            .take(start as u64)
            .read_to_end(&mut ends.start)?;
        file.seek(SeekFrom::Start(size.saturating_sub(from_end as u64)))?;
        file.take(id_len as u64).read_to_end(&mut ends.checksum)?;
        Ok(ends)
    }
}

/// Whether an index and a pack belong together (`packfile.c:load_idx()`, `packfile.c:open_packed_git_1()`).
fn do_fit(index: &Ends, pack: &Ends, id_len: usize) -> bool {
    let Some((count, sizes)) = count_and_sizes(&index.start, id_len as u64) else {
        return false;
    };
    let is_pack = |version: u32| {
        let header = [&b"PACK"[..], &version.to_be_bytes(), &count.to_be_bytes()].concat();
        pack.start == header
    };
    sizes.contains(&index.size)
        && (is_pack(2) || is_pack(3))
        && pack.size >= (PACK_HEADER + id_len) as u64
        && pack.checksum == index.checksum
}

/// The number of objects in an index, and the sizes that the index may have.
fn count_and_sizes(start: &[u8], id_len: u64) -> Option<(u32, std::ops::RangeInclusive<u64>)> {
    let (is_first, table) = match start.strip_prefix(b"\xfftOc") {
        Some(rest) => (false, rest.strip_prefix(&[0, 0, 0, 2])?),
        None => (true, start),
    };
    let (totals, _) = table.get(..FAN_OUT)?.as_chunks::<4>();
    let totals = || totals.iter().map(|total| u32::from_be_bytes(*total));
    let count = totals().is_sorted().then(|| totals().next_back())??;
    let entries = u64::from(count);
    let checksums = 2 * id_len;
    if is_first {
        let size = FAN_OUT as u64 + entries * (id_len + 4) + checksums;
        return Some((count, size..=size));
    }
    let least = (INDEX_HEADER + FAN_OUT) as u64 + entries * (id_len + 8) + checksums;
    // At most, all entries but the first have an offset of 64 bits.
    Some((count, least..=least + 8 * entries.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use gix::objs::Kind;

    use super::*;
    use crate::test_support::test_store::TestStore;

    #[test]
    fn folders_in_a_loop_have_all_files_of_their_packs() {
        let mut store = TestStore::default();
        store.add(Kind::Blob, b"content");
        let (folder, ..) = store.write();
        let objects = folder.path().join("objects");
        let index = packs(&objects).next().expect("a pack");
        for extension in ["rev", "bitmap"] {
            let file = index.with_extension(extension);
            // Git may have made it, read-only.
            if !file.exists() {
                fs::write(file, "").expect("a file");
            }
        }
        let dirs = ObjectDirs::of_loop(&objects, &[], ObjectFormat::Sha1).expect("folders");
        let linked = dirs
            .main()
            .join("pack")
            .join(index.file_name().expect("a name"));
        for extension in ["pack", "idx", "rev", "bitmap"] {
            assert!(linked.with_extension(extension).exists(), "{extension}");
        }
    }
}

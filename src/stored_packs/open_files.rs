//! The open files of packs.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read as _, Seek as _},
    path::Path,
};

/// Limit of open packs. A store may have more packs than a process may have files; git closes packs as well.
const MOST: usize = 32;

/// Bytes that are read at a time. Neighbours are read one after the other, and most entries are much shorter.
const BUFFER: usize = 16 * 1024;

/// The files of the packs that were read last.
#[derive(Default)]
pub(crate) struct OpenFiles {
    /// The last read one first.
    files: VecDeque<OpenFile>,
}

struct OpenFile {
    /// The number of the pack.
    pack: u32,
    reader: BufReader<File>,
    /// The position of the reader.
    offset: u64,
}

impl OpenFiles {
    pub(crate) fn add(&mut self, pack: u32, mut file: File) -> io::Result<()> {
        let offset = file.stream_position()?;
        let reader = BufReader::with_capacity(BUFFER, file);
        self.put(OpenFile {
            pack,
            reader,
            offset,
        });
        Ok(())
    }

    fn put(&mut self, file: OpenFile) {
        self.files.truncate(MOST - 1);
        self.files.push_front(file);
    }

    /// Appends `size` bytes of the pack with this number at `path` to `to`. The pack is opened if it is closed.
    pub(crate) fn read(
        &mut self,
        pack: u32,
        path: &Path,
        start: u64,
        size: usize,
        to: &mut Vec<u8>,
    ) -> io::Result<()> {
        let open = self.files.iter().position(|file| file.pack == pack);
        if open.is_none() {
            self.add(pack, File::open(path)?)?;
        }
        let Some(mut file) = self.files.remove(open.unwrap_or_default()) else {
            return Ok(());
        };
        // A file that can't be read as it should stays closed: its position is unknown.
        // An index may claim any offset; one that is out of reach can't be sought.
        let distance = start.wrapping_sub(file.offset).cast_signed();
        file.reader.seek_relative(distance)?;
        let before = to.len();
        to.resize(before + size, 0);
        let read = file.reader.read_exact(&mut to[before..]);
        read.inspect_err(|_| to.truncate(before))?;
        file.offset = start + size as u64;
        self.put(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::noise;

    #[test]
    fn those_that_are_not_read_are_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut open = OpenFiles::default();
        let mut read = |pack: u32| {
            let path = folder.path().join(pack.to_string());
            let written = open.files.iter().any(|file| file.pack == pack);
            if !written {
                std::fs::write(&path, [pack as u8]).expect("a file");
            }
            let mut content = Vec::new();
            let done = open.read(pack, &path, 0, 1, &mut content);
            done.expect("its content");
            assert_eq!(content, [pack as u8]);
            // An open file is there although its name is gone.
            std::fs::remove_file(&path).ok();
            (!written, open.files.len())
        };
        for pack in 0..MOST as u32 {
            assert_eq!(read(pack), (true, pack as usize + 1));
        }
        assert_eq!(read(0), (false, MOST));
        assert_eq!(read(100), (true, MOST));
        assert_eq!(read(0), (false, MOST), "read not long ago");
        assert_eq!(read(1), (true, MOST), "closed");
    }

    #[test]
    fn any_piece_is_read_after_any_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let packs: Vec<_> = (0..2)
            .map(|pack| noise(3 * BUFFER + 100, pack + 1))
            .collect();
        let path = |pack: u32| folder.path().join(pack.to_string());
        for (pack, content) in (0..).zip(&packs) {
            std::fs::write(path(pack), content).expect("a file");
        }
        let mut open = OpenFiles::default();
        let all = packs[0].len();
        let pieces = [
            (0, 0, 10),
            (0, 10, 100),
            (1, 5000, 1),
            (0, 4, 20),
            (1, 100, 2 * BUFFER),
            (0, all - 1, 1),
            (0, all - 1, 2),
            (0, all, 0),
            (0, 2 * BUFFER, 200),
            (0, all + 1, 1),
            (0, 0, all),
        ];
        for (pack, start, size) in pieces {
            let mut found = b"before".to_vec();
            let read = open.read(pack, &path(pack), start as u64, size, &mut found);
            let piece = packs[pack as usize].get(start..start + size);
            assert_eq!(read.is_ok(), piece.is_some(), "{start} {size}");
            let expected = [b"before", piece.unwrap_or_default()].concat();
            assert!(found == expected, "{start} {size}");
        }
    }
}

//! The open files of packs.

use std::{collections::VecDeque, fs::File, io, path::Path};

/// Limit of open packs. A store may have more packs than a process may have files; git closes packs as well.
const MOST: usize = 32;

/// The files of the packs that were read last.
#[derive(Default)]
pub(crate) struct OpenFiles {
    /// Numbers and files of packs, the last read one first.
    files: VecDeque<(u32, File)>,
}

impl OpenFiles {
    pub(crate) fn add(&mut self, pack: u32, file: File) {
        self.files.truncate(MOST - 1);
        self.files.push_front((pack, file));
    }

    /// The file of the pack with this number at `path`, opened if it is closed.
    pub(crate) fn get(&mut self, pack: u32, path: &Path) -> io::Result<&File> {
        let open = self.files.iter().position(|(number, _)| *number == pack);
        match open.and_then(|open| self.files.remove(open)) {
            Some(open) => self.files.push_front(open),
            None => self.add(pack, File::open(path)?),
        }
        Ok(&self.files[0].1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn those_that_are_not_read_are_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut open = OpenFiles::default();
        let mut read = |pack: u32| {
            let path = folder.path().join(pack.to_string());
            std::fs::write(&path, [pack as u8]).expect("a file");
            let mut content = Vec::new();
            let mut file = open.get(pack, &path).expect("a file");
            file.read_to_end(&mut content).expect("its content");
            // Nothing is left of what was read once, unless it was opened anew.
            (!content.is_empty(), open.files.len())
        };
        for pack in 0..MOST as u32 {
            assert_eq!(read(pack), (true, pack as usize + 1));
        }
        assert_eq!(read(0), (false, MOST));
        assert_eq!(read(100), (true, MOST));
        assert_eq!(read(0), (false, MOST), "read not long ago");
        assert_eq!(read(1), (true, MOST), "closed");
    }
}

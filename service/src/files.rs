//! Files that are whole at any time.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

/// Writes a file with this content in the place of the one at `path`, as one step that outlives a loss of power. Its
/// owner alone can read it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()
}

//! The file of the master keys: one in each line, the first one seals.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{MasterKey, SecretError, random};

/// More than any list of keys has.
const MOST_BYTES: u64 = 64 << 10;

/// The keys in the file.
///
/// # Errors
/// The file is missing, can't be read, can be read by other users, or has anything but keys in it. No key is made
/// then: it would hide that the old one is gone.
pub fn open(path: &Path) -> Result<Vec<MasterKey>, SecretError> {
    let failed = |source| failed(path, source);
    let file = File::open(path).map_err(failed)?;
    check_mode(path, &file)?;
    let length = file.metadata().map_err(failed)?.len().min(MOST_BYTES);
    // With room for the end of the file, so that it need not grow.
    let mut text = Zeroizing::new(String::with_capacity(length as usize + 64));
    file.take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let keys: Option<Vec<_>> = text.lines().map(MasterKey::of_text).collect();
    let invalid = |fault| SecretError::InvalidKeyFile {
        path: path.to_owned(),
        fault,
    };
    let keys =
        keys.ok_or_else(|| invalid("has a line that is not a key: 43 characters of base64url"))?;
    if keys.is_empty() {
        return Err(invalid("is empty"));
    }
    Ok(keys)
}

/// The keys in the file, which is made with one new key if there is none. Of several processes that do so at once
/// all get the same key.
///
/// # Errors
/// Those of [`open`], and failures to write.
pub fn open_or_create(path: &Path) -> Result<Vec<MasterKey>, SecretError> {
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(err) if err.kind() == io::ErrorKind::NotFound => create(path)?,
        Err(err) => return Err(failed(path, err)),
    }
    open(path)
}

/// Makes the file with one new key, unless another process was faster.
///
/// # Errors
/// Failures to write.
pub fn create(path: &Path) -> Result<(), SecretError> {
    let failed = |source| failed(path, source);
    let temporary = write_beside(path, &[MasterKey::generate()?])?;
    // A link fails where a file is; a rename would replace the key of another process.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(failed)?;
    match linked {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(failed(err)),
        _ => sync_folder(path).map_err(failed),
    }
}

/// Replaces the keys in the file, as one step. Only the process that has locked the data folder may do so.
///
/// # Errors
/// Failures to write; the file has the old keys then.
pub fn replace(path: &Path, keys: &[MasterKey]) -> Result<(), SecretError> {
    let failed = |source| failed(path, source);
    let temporary = write_beside(path, keys)?;
    fs::rename(&temporary, path)
        .and_then(|()| sync_folder(path))
        .map_err(failed)
}

/// A new file in the same folder with these keys, on disk and for its owner alone.
fn write_beside(path: &Path, keys: &[MasterKey]) -> Result<PathBuf, SecretError> {
    let name = URL_SAFE_NO_PAD.encode(random::<12>()?);
    let temporary = folder(path).join(format!(".key-{name}"));
    let written = write(&temporary, keys);
    if let Err(source) = written {
        fs::remove_file(&temporary).ok();
        return Err(failed(path, source));
    }
    Ok(temporary)
}

fn write(path: &Path, keys: &[MasterKey]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    for key in keys {
        file.write_all(key.text().as_bytes())?;
        file.write_all(b"\n")?;
    }
    file.sync_all()
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

#[cfg(unix)]
fn check_mode(path: &Path, file: &File) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = file.metadata().map_err(|source| failed(path, source))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(SecretError::OpenKeyFile { path, mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &File) -> Result<(), SecretError> {
    Ok(())
}

fn failed(path: &Path, source: io::Error) -> SecretError {
    SecretError::KeyFile {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn texts(keys: &[MasterKey]) -> Vec<String> {
        keys.iter().map(|key| key.text().to_string()).collect()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn the_key_is_made_once() {
        let folder = folder();
        let path = folder.path().join("master.key");
        assert!(open(&path).is_err());
        let first = texts(&open_or_create(&path).expect("a key"));
        assert_eq!(first.len(), 1);
        assert_eq!(texts(&open_or_create(&path).expect("a key")), first);
        let mode = path.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn twenty_at_once_make_one_key() {
        for _ in 0..20 {
            let folder = folder();
            let path = &folder.path().join("master.key");
            let start = &std::sync::Barrier::new(20);
            let keys: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..20)
                    .map(|_| {
                        scope.spawn(move || {
                            start.wait();
                            texts(&open_or_create(path).expect("a key"))
                        })
                    })
                    .collect();
                let joined = threads.into_iter().map(|thread| thread.join());
                joined.map(|keys| keys.expect("no panic")).collect()
            });
            assert!(keys.iter().all(|one| *one == keys[0]), "{}", keys.len());
            let names = fs::read_dir(folder.path()).expect("a folder").count();
            assert_eq!(names, 1, "nothing is left beside it");
        }
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let folder = folder();
        let path = folder.path().join("master.key");
        open_or_create(&path).expect("a key");
        let good = fs::read_to_string(&path).expect("a key");
        let short = &good[..good.len() - 3];
        for bad in [
            "",
            "\n",
            short,
            "x",
            &format!("{good}\n"),
            &format!("A{good}"),
        ] {
            fs::write(&path, bad).expect("written");
            let err = open_or_create(&path).expect_err("refused");
            assert!(matches!(err, SecretError::InvalidKeyFile { .. }), "{bad:?}");
            let shown = format!("{err} {err:?}");
            assert!(
                !shown.contains(short) && shown.contains("master.key"),
                "{shown}"
            );
            assert_eq!(fs::read_to_string(&path).expect("the file"), bad);
        }
        fs::write(&path, [0xff; 44]).expect("written");
        assert!(open_or_create(&path).is_err());
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a folder in its place");
        assert!(open_or_create(&path).is_err());
    }

    #[test]
    fn a_dangling_link_is_not_a_missing_file() {
        let folder = folder();
        let path = folder.path().join("master.key");
        std::os::unix::fs::symlink("/nonexistent/key", &path).expect("a link");
        let err = open_or_create(&path).expect_err("refused");
        assert!(matches!(err, SecretError::KeyFile { .. }), "{err}");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = folder();
        let path = folder.path().join("master.key");
        open_or_create(&path).expect("a key");
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
            let err = open(&path).expect_err("refused");
            assert!(err.to_string().contains(&format!("{mode:o}")), "{err}");
        }
    }

    #[test]
    fn keys_are_replaced_as_one() {
        let folder = folder();
        let path = folder.path().join("master.key");
        let mut keys = open_or_create(&path).expect("a key");
        keys.insert(0, MasterKey::generate().expect("a key"));
        replace(&path, &keys).expect("replaced");
        assert_eq!(texts(&open(&path).expect("keys")), texts(&keys));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }
}

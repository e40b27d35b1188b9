//! Listing the refs of a local repository: loose refs, and packed refs that no loose ref overrides.

use bstr::{BStr, BString, ByteSlice};
use gix::path::RelativePath;

use super::{
    config::object_format,
    loose_refs::{self, MAX_SYMBOLIC, Target},
    packed_lines::{Record, Records, first_with},
    packed_refs::{self, Snapshot},
};
use crate::{
    AdvertisedRef, Error, ObjectFormat, ObjectId, RefList, Service, SyncContext,
    refs::{self, table::RefTable},
};

/// The number of packed refs between two checks of the deadline: a check takes as long as reading a ref.
pub(crate) const REFS_PER_CHECK: usize = 1024;

/// Lists the refs below `prefixes`.
///
/// A destination with a `packed-refs` that git refuses is refused. Of a source's file the sound lines are listed.
pub(crate) fn list(
    repo: &gix::Repository,
    service: Service,
    prefixes: &[&RelativePath],
    context: &SyncContext,
) -> Result<RefList, Error> {
    let prefixes = Prefixes::new(prefixes.iter().map(|prefix| prefix.as_ref()));
    let mut listing = Listing {
        repo,
        format: object_format(repo),
        refs: RefTable::default(),
        context,
    };
    // Loose refs first, as git does: a ref that is being packed is then found twice, never missed.
    listing.add_loose(&prefixes)?;
    match service {
        Service::ReceivePack => listing.add_packed_of_destination(&prefixes)?,
        Service::UploadPack => listing.add_packed_of_source(&prefixes)?,
    }
    Ok(RefList::of(listing.format, listing.refs))
}

/// The prefixes, sorted, none of which starts with another one.
struct Prefixes<'a>(Vec<&'a [u8]>);

impl<'a> Prefixes<'a> {
    fn new(prefixes: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut prefixes: Vec<_> = prefixes.collect();
        prefixes.sort_unstable();
        prefixes.dedup_by(|next, prefix| next.starts_with(prefix));
        Prefixes(prefixes)
    }

    fn has(&self, name: &BStr) -> bool {
        let after = self.0.partition_point(|prefix| *prefix <= name);
        after > 0 && name.starts_with(self.0[after - 1])
    }
}

struct Listing<'a> {
    repo: &'a gix::Repository,
    format: ObjectFormat,
    refs: RefTable,
    context: &'a SyncContext,
}

impl Listing<'_> {
    fn add_loose(&mut self, prefixes: &Prefixes<'_>) -> Result<(), Error> {
        let git_dir = self.repo.common_dir();
        for prefix in &prefixes.0 {
            let mut visit = |name: BString| {
                self.context.check().map_err(std::io::Error::other)?;
                if loose_refs::is_ref_file(name.as_bstr()) {
                    self.add_loose_ref(name.as_bstr());
                }
                Ok(())
            };
            loose_refs::walk(git_dir, prefix.as_bstr(), &mut visit)
                .map_err(|err| Error::own_or_io("listing refs", err))?;
        }
        Ok(())
    }

    fn add_loose_ref(&mut self, name: &BStr) {
        let target = match self.read(name) {
            Ok(Some(target)) => target,
            // The ref was deleted, or packed: then it is found in `packed-refs`.
            Ok(None) => return,
            Err(err) => {
                tracing::warn!(?name, %err, "a ref can't be read");
                Target::Broken
            }
        };
        // A broken ref is listed with the null id: a ref that is not listed would be created.
        let null = ObjectId::null(self.format);
        let symbolic = matches!(target, Target::Symbolic(_));
        self.refs.push(AdvertisedRef {
            name,
            target: self.follow(target).unwrap_or(null),
            annotated: false,
            symbolic,
        });
    }

    fn read(&self, name: &BStr) -> std::io::Result<Option<Target>> {
        let path = gix::path::from_bstr(name).unwrap_or_default();
        loose_refs::read(&self.repo.common_dir().join(path), self.format)
    }

    fn follow(&self, mut target: Target) -> Option<ObjectId> {
        for _ in 0..MAX_SYMBOLIC {
            let name = match target {
                Target::Object(id) => return Some(id),
                Target::Broken => return None,
                Target::Symbolic(name) => name,
            };
            if !refs::is_valid_name(name.as_bstr()) {
                return None;
            }
            target = match self.read(name.as_bstr()).ok()? {
                Some(target) => target,
                None => {
                    let packed = Snapshot::open(self.repo).ok()?;
                    return packed.find(name.as_bstr()).ok()?;
                }
            };
        }
        None
    }

    fn add_packed_of_destination(&mut self, prefixes: &Prefixes<'_>) -> Result<(), Error> {
        let git_dir = self.repo.common_dir();
        let file = packed_refs::read(&git_dir.join("packed-refs")).map_err(unreadable)?;
        let refused = |bad| packed_refs::refused(git_dir, &bad);
        let records = Records::of_file(&file, self.format).map_err(refused)?;
        for (at, found) in records.enumerate() {
            if at % REFS_PER_CHECK == 0 {
                self.context.check()?;
            }
            let found = found.map_err(refused)?;
            if prefixes.has(found.name) {
                self.refs.push(advertised(&found));
            }
        }
        Ok(())
    }

    /// Adds the packed refs of a source. A sorted file is searched for the prefixes and not read as a whole: a large
    /// repository has most of its refs there.
    fn add_packed_of_source(&mut self, prefixes: &Prefixes<'_>) -> Result<(), Error> {
        // Opened here, because gix' cached buffer would stay in memory with the repository.
        let buffer = self.repo.refs.open_packed_buffer();
        let found = buffer.ok().map(|buffer| match &buffer {
            Some(buffer) => self.add_sorted(buffer.as_ref(), prefixes),
            None => Ok(true),
        });
        if found.transpose()? == Some(true) {
            return Ok(());
        }
        let file = packed_refs::read(&self.repo.common_dir().join("packed-refs"));
        let file = file.map_err(unreadable)?;
        let sound = Records::sound(&file, self.format);
        for (at, found) in sound.filter(|found| prefixes.has(found.name)).enumerate() {
            if at % REFS_PER_CHECK == 0 {
                self.context.check()?;
            }
            self.refs.push(advertised(&found));
        }
        Ok(())
    }

    /// Adds the wanted refs of sorted lines. Returns false if the lines are not as git writes them.
    fn add_sorted(&mut self, lines: &[u8], prefixes: &Prefixes<'_>) -> Result<bool, Error> {
        for prefix in &prefixes.0 {
            let Some(start) = first_with(prefix, lines, self.format) else {
                return Ok(false);
            };
            for (at, found) in Records::of_lines(&lines[start..], self.format).enumerate() {
                if at % REFS_PER_CHECK == 0 {
                    self.context.check()?;
                }
                match found {
                    Ok(found) if !found.name.starts_with(prefix) => break,
                    Ok(found) if refs::is_valid_name(found.name) => {
                        self.refs.push(advertised(&found));
                    }
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

fn advertised<'a>(found: &Record<'a>) -> AdvertisedRef<'a> {
    AdvertisedRef {
        name: found.name,
        target: found.target,
        annotated: found.peeled.is_some_and(|peeled| peeled != found.target),
        symbolic: false,
    }
}

fn unreadable(err: std::io::Error) -> Error {
    Error::io("reading packed-refs", err)
}

#[cfg(test)]
mod tests;

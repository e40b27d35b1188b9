//! The options of a run: plain data.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::{Error, ErrorKind, FsckRules, Limits, Progress, RefGlobs, SyncRunStats};

/// The options of [`sync()`](crate::sync()). The default syncs all branches and tags.
///
/// ```
/// let mut options = refsync::SyncOptions::default();
/// options.globs = refsync::RefGlobs::new(Some("main"), Some("v1.*"))?;
/// options.dry_run = true;
/// # Ok::<_, refsync::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SyncOptions {
    /// Which branches and tags take part.
    pub globs: RefGlobs,
    /// Whether a tag may move.
    pub tags: TagPolicy,
    /// Which objects a pull takes. By default what git takes with `fetch.fsckObjects`.
    pub fsck: FsckRules,
    /// Do everything but write: the stats say what would happen. A pull still receives the objects
    /// that it needs to decide, and drops them.
    pub dry_run: bool,
    /// List the branches and tags that the globs exclude, too, as filtered.
    pub list_excluded: bool,
    /// Have the HEAD of a local destination name the source's default branch, where it names a branch
    /// that isn't there, the default branch is, and nothing is checked out: the repository is bare.
    /// Clones of a new mirror are empty otherwise. On by default.
    pub set_head: bool,
    /// The stats of the run before this one. A ref that was rejected then for what its tips are is not
    /// fetched again and stays rejected as long as neither of them moves; nor is one that was rejected
    /// by the [tag policy](SyncOptions::tags), the [fsck rules](SyncOptions::fsck) or the limits on the
    /// [size of one object](Limits::object_size), as long as these are the same. One that was incomplete
    /// is fetched again if that may be for what the destination has lost
    /// ([`SyncRunStats::destination_in_doubt`]). Leave the stats out to have everything looked at anew.
    pub previous: Option<SyncRunStats>,
    /// Whether there probably is something to do, since it was a change at the source that started the
    /// run. A push then lists its remote at once as a push has to. Otherwise it first looks at the refs
    /// in a cheaper way where there is one, which is all that a run with nothing to do needs, and costs
    /// any other a request or two. Such a run shows that the remote can be read, not that it takes a
    /// push.
    pub expects_changes: bool,
    /// The number of packs that a pull may ask for after a remote has given up on one, as git does over an
    /// object that it lacks: half of the tips are asked for then, and the other half. 64 by default; with 1 all
    /// of them are rejected. It ends early once twice as much was received for nothing as the first
    /// time, and more than 1 MiB.
    pub max_pack_requests: usize,
    /// The number of pushes that a run may repeat, each with some of the refs, after a remote has declined a
    /// whole push: its `pre-receive` hook or its check of the pack speaks for all refs at once, and may
    /// object to one of them. 64 by default; with 0 all are rejected. They end early once they have
    /// sent twice as much as the first push, and more than 32 MiB. The source's default branch is tried
    /// first, and what the run before saw refused alone ([`previous`](SyncOptions::previous)) last.
    pub max_repeated_pushes: usize,
    /// The time for which a ref that the remote has refused for itself is not sent again, if neither of
    /// its tips moves and the stats of the run before are at hand ([`previous`](SyncOptions::previous)):
    /// its objects would be sent each time. An hour by default; with zero it is sent in each run. The
    /// stats say when that is ([`Refusal`](crate::Refusal)).
    pub refusal_backoff: Duration,
    /// The limits of the run, in time, traffic, memory and disk.
    pub limits: Limits,
    /// The folder for the temporary repository through which two remotes are synced, which a process
    /// that is killed leaves behind, and for a pack whose length a remote has to know beforehand. The
    /// system's one for temporary files if there is none.
    pub scratch: Option<PathBuf>,
    /// Set it to true from any thread to end the run with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), within a second. A run that has begun
    /// to move objects and refs into the destination ends by itself and does not fail.
    pub cancel: Option<Arc<AtomicBool>>,
    /// The observer of how far the run is.
    pub progress: Option<Arc<dyn Progress>>,
}

/// Whether a tag that exists at the destination may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TagPolicy {
    /// A lightweight tag moves like a branch: from commit to descendant. Any other tag stays.
    #[default]
    FastForward,
    /// Tags never move. This is git's own rule (`git fetch`: "would clobber existing tag").
    Immutable,
}

impl Default for SyncOptions {
    fn default() -> Self {
        SyncOptions {
            globs: RefGlobs::default(),
            tags: TagPolicy::default(),
            fsck: FsckRules::default(),
            dry_run: false,
            list_excluded: false,
            set_head: true,
            previous: None,
            expects_changes: false,
            max_pack_requests: 64,
            max_repeated_pushes: 64,
            refusal_backoff: Duration::from_secs(60 * 60),
            limits: Limits::default(),
            scratch: None,
            cancel: None,
            progress: None,
        }
    }
}

impl SyncOptions {
    /// A short digest of the rules that can turn a ref away beside what its tips are: the same for equal
    /// ones, whichever process or machine makes it.
    pub(crate) fn rules(&self) -> Result<String, Error> {
        let text = format!(
            "tags {:?}\n{}size {} {}\n",
            self.tags,
            self.fsck.canonical_text(),
            self.limits.object_size,
            self.limits.parsed_object_size(),
        );
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(text.as_bytes());
        let digest = hasher.try_finalize().map_err(|err| {
            Error::new(ErrorKind::InvalidOptions, "the rules can't be told apart").with_source(err)
        })?;
        Ok(digest.to_hex_with_len(16).to_string())
    }
}

impl std::fmt::Debug for SyncOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SyncOptions")
            .field("globs", &self.globs)
            .field("tags", &self.tags)
            .field("fsck", &self.fsck)
            .field("dry_run", &self.dry_run)
            .field("list_excluded", &self.list_excluded)
            .field("set_head", &self.set_head)
            .field(
                "previous",
                &self.previous.as_ref().map(|stats| stats.refs.len()),
            )
            .field("expects_changes", &self.expects_changes)
            .field("max_pack_requests", &self.max_pack_requests)
            .field("max_repeated_pushes", &self.max_repeated_pushes)
            .field("refusal_backoff", &self.refusal_backoff)
            .field("limits", &self.limits)
            .field("scratch", &self.scratch)
            .field("cancel", &self.cancel)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FsckLevel, FsckMessage, ObjectId};

    fn rules(change: impl FnOnce(&mut SyncOptions)) -> String {
        let mut options = SyncOptions::default();
        change(&mut options);
        options.rules().expect("a digest")
    }

    #[test]
    fn rules_have_one_digest_each() {
        let id = |digit: char| {
            let hex = digit.to_string().repeat(40);
            ObjectId::from_hex(hex.as_bytes()).expect("hex")
        };
        let digests = [
            rules(|_| {}),
            rules(|options| options.tags = TagPolicy::Immutable),
            rules(|options| options.fsck = FsckRules::none()),
            rules(|options| options.limits.object_size += 1),
            rules(|options| options.limits.memory += 16),
            rules(|options| options.fsck = FsckRules::strict()),
            rules(|options| options.fsck.skip = [id('1')].into()),
            rules(|options| options.fsck.skip = [id('1'), id('2')].into()),
            rules(|options| {
                let set = options.fsck.set("largePathname", "warn:1k");
                set.expect("a level and a length");
            }),
        ];
        for (at, digest) in digests.iter().enumerate() {
            assert_eq!(digest.len(), 16);
            assert!(!digests[..at].contains(digest), "{at}");
        }
        let the_same = rules(|options| {
            options.dry_run = true;
            options.limits.objects += 1;
            options.fsck.skip = [id('2'), id('1')].into();
        });
        assert_eq!(the_same, digests[7]);
        let there_and_back = rules(|options| {
            let message = FsckMessage::BadTimezone;
            let before = options.fsck.level(message);
            for level in [FsckLevel::Warn, before] {
                options.fsck.set_level(message, level).expect("a level");
            }
        });
        assert_eq!(there_and_back, digests[0]);
    }
}

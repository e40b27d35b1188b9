//! The options of a run: plain data.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crate::{
    Error, ErrorKind, FsckRules, Limits, Progress, RefGlobs, SyncRunStats, memory_plan::MemoryPlan,
};

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
    /// The globs that select branches and tags. The default selects all of both.
    pub globs: RefGlobs,
    /// The rule for tags that exist at the destination.
    pub tags: TagPolicy,
    /// The rules of git's fsck for received objects. The default is that of [`FsckRules`].
    pub fsck: FsckRules,
    /// Whether the run stops before it writes; the stats then say what would happen. A pull still
    /// receives the objects that it needs for its decisions, and drops them.
    pub dry_run: bool,
    /// Whether the stats also list the branches and tags that the globs exclude, as
    /// [`FilterReason::Excluded`](crate::FilterReason::Excluded).
    pub list_excluded: bool,
    /// Whether HEAD of a bare local destination is set to the source's default branch. That happens only if
    /// HEAD names a branch that does not exist and the default branch does exist there. Without it, a clone
    /// of a new mirror checks out nothing. On by default.
    pub set_head: bool,
    /// The stats of the previous run, whose rejections are kept where they still hold:
    ///
    /// - A rejection that follows from the two tips holds, without another fetch, until one of them moves.
    /// - A rejection by the [tag policy](SyncOptions::tags), the [fsck rules](SyncOptions::fsck) or the
    ///   limit on the [size of one object](Limits::object_size) holds as long as these are the same as well.
    /// - An incomplete ref is fetched again if the destination may have lost the missing objects itself
    ///   ([`SyncRunStats::destination_in_doubt`]).
    ///
    /// With `None` every ref is decided again.
    pub previous: Option<SyncRunStats>,
    /// Whether refs probably have to move, because a change at the source started the run. A push then
    /// lists the remote through receive-pack at once. Without it, a push first lists the remote through
    /// upload-pack where that is cheaper ([`RefSource::list_for_fetch`](crate::RefSource::list_for_fetch)).
    /// That listing suffices for a run with nothing to do, and costs any other run one or two requests. A
    /// run that ends after it has shown that the remote can be read, not that it accepts pushes.
    pub expects_changes: bool,
    /// The number of packs that a pull may request after a remote has given up on one, as git does over a
    /// missing object. Each time the remote gives up, the tips are requested in two halves. 64 by default; with
    /// 1 all tips are rejected at once. The pull stops earlier once the failed requests have received more than
    /// 1 MiB and more than twice the bytes of the first one.
    pub max_pack_requests: usize,
    /// The number of pushes that a run may repeat with a part of the refs after a remote has declined a whole
    /// push: a `pre-receive` hook and the check of the pack judge all refs at once, and may object to only one
    /// of them. 64 by default; with 0 all refs are rejected. The run stops earlier once the repeated pushes
    /// have sent more than 32 MiB and more than twice the bytes of the first one. The source's default branch is
    /// pushed first, refs that the [`previous`](SyncOptions::previous) run saw refused alone are pushed last.
    pub max_repeated_pushes: usize,
    /// The time for which a ref that the remote refused by itself is not pushed again while neither of its
    /// tips moves; each attempt would send its objects. It needs the stats of the
    /// [`previous`](SyncOptions::previous) run. An hour by default; with zero the ref is pushed in each run.
    /// [`Refusal::retry_at`](crate::Refusal::retry_at) has the end of that time.
    pub refusal_backoff: Duration,
    /// The limits of the run, in time, traffic, memory and disk.
    pub limits: Limits,
    /// The folder for temporary data outside of the destination: the temporary repository of a sync between
    /// two remotes (a killed process leaves it behind), a pack whose length a remote has to know before it is sent,
    /// and contents of a stored pack beyond the memory for them. `None` is the system's folder for temporary files.
    pub scratch: Option<PathBuf>,
    /// The flag that cancels the run: set to true from any thread, it ends the run within a second with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). A run that has begun to move objects and refs into
    /// the destination is not interrupted; it completes and does not fail.
    pub cancel: Option<Arc<AtomicBool>>,
    /// The observer of the run's progress.
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
    /// A short digest of the rules that can reject a ref in addition to its tips. Equal rules have equal
    /// digests in every process and on every machine.
    pub(crate) fn rules(&self) -> Result<String, Error> {
        let text = format!(
            "tags {:?}\n{}size {} {}\n",
            self.tags,
            self.fsck.canonical_text(),
            self.limits.object_size,
            MemoryPlan::of(&self.limits).parsed_object,
        );
        let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
        hasher.update(text.as_bytes());
        let digest = hasher.try_finalize().map_err(|err| {
            Error::new(ErrorKind::InvalidOptions, "the digest of the rules failed").with_source(err)
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

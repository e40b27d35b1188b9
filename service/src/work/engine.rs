//! [`Refsync`], the engine that syncs.

use std::{path::Path, sync::Arc};

use refsync::{
    BStr, Error, ErrorKind, Limits, LocalStore, NetworkPolicy, ObjectFormat, RefSource as _,
    ServerProfile, Service, SmartHttp, SyncContext, SyncOptions, SyncRunStats,
};

use super::{
    Engine, RepoFolders, Report, Task,
    decisions::{has_moved, moved, new_default},
    folders::tip,
    journal::{Journal, Keeper},
};
use crate::records::{Direction, PushUpdate};

/// The engine that syncs. The caller of [`run`](Engine::run) has the lock of the repository.
#[derive(Debug, Clone)]
pub struct Refsync {
    /// The folders of the repositories.
    pub folders: RepoFolders,
    /// The limits of one attempt.
    pub limits: Limits,
    /// The addresses that upstreams may have.
    pub network: NetworkPolicy,
}

impl Engine for Refsync {
    fn run(&self, task: &Task) -> Result<Report, Error> {
        let upstream = self.upstream(task)?;
        let store = self.folders.open_or_init(&task.repo)?;
        let mut report = match task.direction {
            Direction::Push => self.push(task, &upstream, &store)?,
            Direction::Pull => self.pull(task, &upstream, store)?,
        };
        report.profile = upstream.profile().map(String::from);
        Ok(report)
    }
}

impl Refsync {
    fn upstream(&self, task: &Task) -> Result<SmartHttp, Error> {
        let mut upstream = SmartHttp::new(&task.url)?.with_network_policy(self.network.clone());
        if let Some(credentials) = &task.credentials {
            upstream = upstream.with_credentials(credentials.clone());
        }
        // A profile of a later version is dropped.
        let profile: Option<ServerProfile> =
            task.profile.as_ref().and_then(|text| text.parse().ok());
        Ok(match profile {
            Some(profile) => upstream.with_profile(profile),
            None => upstream,
        })
    }

    fn options(&self, task: &Task) -> Result<SyncOptions, Error> {
        let mut options = SyncOptions::default();
        options.globs = task.globs.compiled()?;
        options.dry_run = task.dry_run;
        options.limits = self.limits.clone();
        options.previous.clone_from(&task.previous);
        options.cancel = Some(Arc::clone(&task.cancel));
        // HEAD is the repository's default branch, which is in the database.
        options.set_head = false;
        Ok(options)
    }

    fn push(&self, task: &Task, upstream: &SmartHttp, store: &LocalStore) -> Result<Report, Error> {
        let mut options = self.options(task)?;
        options.expects_changes = expects_changes(task, store, &options)?;
        let stats = refsync::sync(store, upstream, &options)?;
        let head = tip(store, &task.repo.default_bookmark)?;
        Ok(Report {
            stats,
            head,
            ..Report::default()
        })
    }

    fn pull(&self, task: &Task, upstream: &SmartHttp, store: LocalStore) -> Result<Report, Error> {
        let (stats, store) = self.pull_in_its_format(task, upstream, store)?;
        let moved = self.moved(task, &stats, &store)?;
        let present = &task.repo.default_bookmark;
        let mut head = tip(&store, present)?;
        let mut default_bookmark = None;
        if !task.dry_run {
            let theirs = stats.default_branch.as_ref().map(AsRef::<BStr>::as_ref);
            let is_chosen = task.repo.default_given;
            default_bookmark =
                new_default(task.direction, is_chosen, present, head.as_deref(), theirs);
        }
        if let Some(branch) = &default_bookmark {
            self.folders
                .set_head(&task.repo.id, branch)
                .map_err(|err| failed("setting HEAD", err))?;
            head = tip(&store, branch)?;
        }
        let packs = if stats.traffic.objects > 0 {
            packs(store.path())
        } else {
            0
        };
        Ok(Report {
            stats,
            profile: None,
            head,
            default_bookmark,
            moved,
            packs,
        })
    }

    /// Pulls; if the repository is empty and its upstream has the other object format, into a new one of that.
    fn pull_in_its_format(
        &self,
        task: &Task,
        upstream: &SmartHttp,
        store: LocalStore,
    ) -> Result<(SyncRunStats, LocalStore), Error> {
        let mismatch = match self.pull_into(task, upstream, &store) {
            Err(err) if err.kind() == ErrorKind::ObjectFormatMismatch => err,
            pulled => return pulled.map(|stats| (stats, store)),
        };
        let other = match store.object_format() {
            ObjectFormat::Sha1 => ObjectFormat::Sha256,
            _ => ObjectFormat::Sha1,
        };
        if task.dry_run {
            let stats = self.try_format(task, upstream, other)?;
            return Ok((stats.ok_or(mismatch)?, store));
        }
        drop(store);
        let Some(store) = self.folders.replace_empty(&task.repo, other)? else {
            return Err(mismatch);
        };
        let stats = self.pull_into(task, upstream, &store)?;
        Ok((stats, store))
    }

    /// A dry run into an empty repository of another format; `None` if the repository is not empty.
    fn try_format(
        &self,
        task: &Task,
        upstream: &SmartHttp,
        format: ObjectFormat,
    ) -> Result<Option<SyncRunStats>, Error> {
        let id = &task.repo.id;
        let Some(store) = self.folders.trial(id, format)? else {
            return Ok(None);
        };
        let stats = self.pull_into(task, upstream, &store);
        drop(store);
        self.folders.end_trial(id);
        stats.map(Some)
    }

    fn pull_into(
        &self,
        task: &Task,
        upstream: &SmartHttp,
        store: &LocalStore,
    ) -> Result<SyncRunStats, Error> {
        let mut options = self.options(task)?;
        if task.dry_run {
            return refsync::sync(upstream, store, &options);
        }
        let keeper = Arc::new(Keeper::new(
            self.folders.journal_path(&task.repo.id),
            task.run.clone(),
            store.clone(),
            Arc::clone(&task.cancel),
        ));
        options.progress = Some(Arc::clone(&keeper) as _);
        let pulled = refsync::sync(upstream, store, &options);
        match keeper.failure() {
            Some(err) => Err(failed("remembering the refs before the change", err)),
            None => pulled,
        }
    }

    /// The refs that have moved since somebody was told.
    fn moved(
        &self,
        task: &Task,
        stats: &SyncRunStats,
        store: &LocalStore,
    ) -> Result<Vec<PushUpdate>, Error> {
        if task.dry_run {
            return Ok(Vec::new());
        }
        if !task.recovers {
            return Ok(moved(stats));
        }
        let journal = Journal::read(&self.folders.journal_path(&task.repo.id))
            .map_err(|err| failed("reading the refs before the change", err))?;
        journal.map_or_else(|| Ok(moved(stats)), |journal| journal.changes(store))
    }
}

fn expects_changes(task: &Task, store: &LocalStore, options: &SyncOptions) -> Result<bool, Error> {
    if task.previous.is_none() {
        return Ok(false);
    }
    let context = SyncContext::new(options);
    let both = ["refs/heads/".into(), "refs/tags/".into()];
    let list = store.list(Service::UploadPack, &both, &context)?;
    let local = list.iter().map(|r| (r.name, r.target));
    Ok(has_moved(local, &options.globs, task.previous.as_ref()))
}

/// The number of packs; a folder that can't be read has none that anybody could repack.
pub(crate) fn packs(repository: &Path) -> usize {
    let entries = std::fs::read_dir(repository.join("objects/pack"));
    let names = entries.into_iter().flatten().flatten();
    let is_pack = |entry: &std::fs::DirEntry| {
        Path::new(&entry.file_name()).extension() == Some("pack".as_ref())
    };
    names.filter(is_pack).count()
}

fn failed(what: &str, err: std::io::Error) -> Error {
    Error::new(ErrorKind::LocalIo, format!("{what} failed")).with_source(err)
}

//! The command `doctor`: what an operator has to mend, for nothing does by itself.

use std::time::Duration;

use crate::{
    Error, ErrorKind, chain, clock, commands,
    config::Config,
    data_folder::{self, DataFolder},
    records::Time,
    store::Store,
    work::RepoFolders,
};

/// The time that a restarted service has to take up the runs of a dead one.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// The time for which a run may be due while its host is busy or asks to wait.
const WAIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Looks at the data of this node, also while it is served. A line for each finding, none if all is well.
///
/// # Errors
/// There is no data folder or database, or the database does not answer.
pub async fn doctor(config: &Config) -> Result<Vec<String>, Error> {
    let folder = DataFolder::shared(&config.data)?;
    commands::existing(config)?;
    let (store, version) = Store::open_as_it_is(&config.database).await?;
    let mut findings = Vec::new();
    if version.found == version.known {
        findings.extend(secrets(&folder, &store).await?);
        findings.extend(runs(&store, clock::now()).await?);
        let folders = RepoFolders::at(folder.path().join("repos"));
        findings.extend(lost_folders(config, &folders, &store).await?);
        findings.extend(unknown_folders(config, &folders, &store).await?);
    } else {
        findings.push(format!(
            "database: it has version {}, and this program works with {}",
            version.found, version.known
        ));
    }
    store.close().await;
    Ok(findings)
}

async fn secrets(folder: &DataFolder, store: &Store) -> Result<Vec<String>, Error> {
    let keys = match folder.master_keys(false) {
        Ok(keys) => keys,
        Err(err) if err.kind() == ErrorKind::Key => {
            return Ok(vec![format!("master key: {}", chain(&err))]);
        }
        Err(err) => return Err(err),
    };
    let unreadable = store.unreadable(&data_folder::sealer(&keys)?).await?;
    let unreadable = unreadable.into_iter();
    let line =
        |(table, row)| format!("secret: that of {row} in {table} can't be opened; set it anew");
    Ok(unreadable.map(line).collect())
}

async fn runs(store: &Store, now: Time) -> Result<Vec<String>, Error> {
    let before = |time: Duration| {
        let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        Time(now.0.saturating_sub(millis))
    };
    let stuck = store.stuck_runs(before(SILENCE), before(WAIT)).await?;
    let stuck = stuck.iter();
    let line =
        |run: &crate::store::StuckRun| format!("run: {} of {}: {}", run.id, run.repo, run.reason);
    let mut findings: Vec<String> = stuck.map(line).collect();
    for wrong in store.miscounted().await? {
        findings.push(format!(
            "queue: {} on {} counts {} queued and {} running, and there are {} and {}",
            wrong.org,
            wrong.home,
            wrong.queued,
            wrong.running,
            wrong.real_queued,
            wrong.real_running
        ));
    }
    Ok(findings)
}

/// The number of folders that are looked up at a time.
const FOLDERS: usize = 500;

/// The folders of no repository of this node, as an older database leaves them that was restored: nothing uses or
/// removes them.
async fn unknown_folders(
    config: &Config,
    folders: &RepoFolders,
    store: &Store,
) -> Result<Vec<String>, Error> {
    let failed = |err| Error::new(ErrorKind::Io, "listing the repositories failed").because(err);
    let ids = folders.ids().map_err(failed)?;
    let mut findings = Vec::new();
    for some in ids.chunks(FOLDERS) {
        for id in store.without_row(&config.node, some).await? {
            let path = folders.path(&id);
            // One that was removed since it was listed is no finding.
            if path.exists() {
                let text = "of no repository of this node; move it away if nothing is missing";
                findings.push(format!("folder: {} is {text}", path.display()));
            }
        }
    }
    Ok(findings)
}

async fn lost_folders(
    config: &Config,
    folders: &RepoFolders,
    store: &Store,
) -> Result<Vec<String>, Error> {
    let mut findings = Vec::new();
    let mut after = None;
    loop {
        let repos = store.repos_of_home(&config.node, after.as_ref()).await?;
        let Some((last, _)) = repos.last() else {
            return Ok(findings);
        };
        after = Some(last.clone());
        for (id, has_head) in repos {
            if folders.is_lost(&id, has_head) {
                let path = folders.path(&id);
                let text = "gone or no repository; restore it, or remove the repository";
                findings.push(format!("repository: {} is {text}", path.display()));
            }
        }
    }
}

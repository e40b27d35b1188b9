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
        findings.extend(repos(config, &folder, &store).await?);
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

/// The faults of the repositories. Beside the folder of another node each of them would seem to be one.
async fn repos(config: &Config, folder: &DataFolder, store: &Store) -> Result<Vec<String>, Error> {
    let known = Nodes {
        is_shared: store.is_shared(),
        folders: store.node_folders().await?,
    };
    if let Some(finding) = known.wrong(&config.node, folder.known_id()?.as_deref()) {
        return Ok(vec![finding]);
    }
    let folders = RepoFolders::at(folder.path().join("repos"));
    let mut findings = lost_folders(config, &folders, store).await?;
    findings.extend(unknown_folders(config, &folders, store).await?);
    Ok(findings)
}

/// The nodes of the database.
struct Nodes {
    is_shared: bool,
    /// Names, each with the identifier of its data folder. It is empty where the name was given away.
    folders: Vec<(String, String)>,
}

impl Nodes {
    /// The finding that the data folder with this identifier is not that of the node `name`. A folder that was restored
    /// has no identifier before it is served.
    fn wrong(&self, name: &str, folder: Option<&str>) -> Option<String> {
        let is_right = match self.folders.iter().find(|(node, _)| node == name) {
            // A file of SQLite has one node; it may be a backup that was restored into another folder.
            Some(_) if !self.is_shared => true,
            Some((_, known)) => known.is_empty() || folder.is_none_or(|folder| folder == known),
            // Nothing was ever served.
            None => self.folders.is_empty(),
        };
        if is_right {
            return None;
        }
        let owner = self
            .folders
            .iter()
            .find(|(_, known)| Some(known.as_str()) == folder);
        let text = match owner {
            Some((owner, _)) => format!("it is that of {owner}: look again with --node {owner}"),
            None => "look again with --node and the name of its node".to_owned(),
        };
        Some(format!(
            "node: this is not the data folder of {name}; {text}"
        ))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_another_node_is_one_finding() {
        let nodes = |is_shared, folders: &[(&str, &str)]| Nodes {
            is_shared,
            folders: folders
                .iter()
                .map(|(name, folder)| (name.to_string(), folder.to_string()))
                .collect(),
        };
        let both = [("a", "1"), ("b", "2"), ("given-away", "")];
        for (nodes, name, folder, found) in [
            (nodes(true, &both), "a", Some("1"), None),
            (nodes(true, &both), "a", None, None),
            (nodes(true, &both), "given-away", Some("3"), None),
            (nodes(true, &both), "a", Some("2"), Some("--node b")),
            (nodes(true, &both), "local", Some("1"), Some("--node a")),
            (
                nodes(true, &both),
                "a",
                Some("3"),
                Some("the name of its node"),
            ),
            (
                nodes(true, &both),
                "local",
                None,
                Some("the name of its node"),
            ),
            (nodes(true, &[]), "local", None, None),
            (nodes(false, &[("a", "1")]), "a", Some("2"), None),
            (
                nodes(false, &[("a", "1")]),
                "local",
                Some("1"),
                Some("--node a"),
            ),
        ] {
            let finding = nodes.wrong(name, folder);
            let is_it = match (&finding, found) {
                (Some(finding), Some(words)) => finding.contains(words),
                (finding, found) => finding.is_none() && found.is_none(),
            };
            assert!(is_it, "{name} in {folder:?}: {finding:?}");
        }
    }
}

//! HEAD of a hosted repository, and the tip of its default branch as the database has it.

use crate::{
    Error, ErrorKind, Service,
    records::{Repo, RepoId},
};

/// The number of looks after which others, who change the repository all the time, are left to go on.
const MOST_LOOKS: usize = 8;

/// Lets HEAD name the default branch and records that branch's tip, and looks again afterwards until nothing else has
/// come. Whoever changes the default branch or records a tip does this: the tip was read before it was written, and
/// somebody else may have written a newer one in between. The last one to write looks last, so that the newest stays.
/// The repository, or `None` if it is gone.
///
/// # Errors
/// The database fails, or the folder can't be read or written.
pub(crate) async fn settle_head(service: &Service, id: &RepoId) -> Result<Option<Repo>, Error> {
    let mut before = None;
    let mut looks = 0;
    loop {
        let Some(mut repo) = service.store.repo(id).await? else {
            return Ok(None);
        };
        // The folder is on the disk of its home, which settles it.
        if repo.home != service.config.node {
            return Ok(Some(repo));
        }
        let head = point_head(service, &repo).await?;
        let branch = repo.default_bookmark.clone();
        let now = Some((branch.clone(), head.clone()));
        if repo.head != head {
            service.store.set_head(id, &branch, head.as_deref()).await?;
        }
        looks += 1;
        let is_settled = repo.head == head && now == before;
        if is_settled || looks == MOST_LOOKS {
            repo.head = head;
            return Ok(Some(repo));
        }
        before = now;
    }
}

async fn point_head(service: &Service, repo: &Repo) -> Result<Option<String>, Error> {
    let failed = || Error::new(ErrorKind::Git, "reading the head of a repository failed");
    let (folders, of) = (service.repos.clone(), repo.clone());
    let point = move || {
        // A folder that is not there, maybe lost, says nothing.
        if folders.is_there(&of.id) {
            folders.point_head(&of)
        } else {
            Ok(of.head)
        }
    };
    match tokio::task::spawn_blocking(point).await {
        Ok(head) => head.map_err(|err| failed().because(err)),
        Err(err) => Err(failed().because(err)),
    }
}

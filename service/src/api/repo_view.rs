//! [`RepoView`], a repository as the API shows it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::schedule::HealthView;
use crate::Service;
use crate::records::{
    AuthKind, EMPTY_CHANGE_ID, Name, Org, Repo, RepoId, Schedule, SyncRun, Time, change_id,
};

/// The Repo object.
#[derive(Serialize)]
pub(super) struct RepoView<'a> {
    id: &'a RepoId,
    org: &'a str,
    name: &'a Name,
    default_bookmark: &'a str,
    head_change_id: String,
    upstream: Option<UpstreamView<'a>>,
    created_at: Time,
    tags: &'a BTreeMap<String, String>,
    clone_url: Option<String>,
}

#[derive(Serialize)]
struct UpstreamView<'a> {
    url: &'a str,
    auth_kind: Option<AuthKind>,
    latest_sync: Option<&'a SyncRun>,
    schedule: Option<&'a Schedule>,
    health: HealthView<'a>,
}

impl<'a> RepoView<'a> {
    pub(super) fn of(service: &Service, org: &'a Org, repo: &'a Repo) -> Self {
        let config = &service.config;
        let change_id = repo.head.as_deref().and_then(change_id);
        RepoView {
            id: &repo.id,
            org: &org.slug,
            name: &repo.name,
            default_bookmark: &repo.default_bookmark,
            head_change_id: change_id.unwrap_or_else(|| EMPTY_CHANGE_ID.into()),
            upstream: repo.upstream.as_ref().map(|upstream| UpstreamView {
                url: &upstream.url,
                auth_kind: upstream.auth_kind,
                latest_sync: repo.latest_sync.as_ref(),
                schedule: upstream.schedule.as_ref(),
                health: HealthView::of(&upstream.health),
            }),
            created_at: repo.created_at,
            tags: &repo.tags,
            clone_url: config.git.http.then(|| {
                let base = repo.home_url.as_ref().unwrap_or(&config.public_url);
                format!("{base}/{}/{}.git", org.slug, repo.name)
            }),
        }
    }
}

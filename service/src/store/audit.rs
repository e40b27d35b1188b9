//! The audit: who has made, changed and removed what gives access. A row is written in the transaction of its change.

use super::{
    NewUpstream, Store, Tx, db,
    tx::{execute, on, read},
};
use crate::{
    Error,
    records::{Change, OrgId, Repo, TargetId, Time, Upstream},
};

/// The actor of what the program does by itself.
const PROGRAM: &str = "refsyncd";

/// A row of the audit. It never has a secret.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Audited {
    /// The time in unix milliseconds.
    pub at: i64,
    /// The id of the key of the caller, `command line`, or `refsyncd` for the program itself.
    pub actor: String,
    /// The kind of the change, such as `key.created`.
    pub action: String,
    /// The id of what was changed.
    pub subject: String,
    /// The reason or the new value, where there is one.
    pub detail: Option<String>,
}

impl Store {
    /// The same store, whose changes are those of `actor` in the audit.
    #[must_use]
    pub fn by(&self, actor: &str) -> Self {
        Store {
            actor: Some(actor.into()),
            ..self.clone()
        }
    }

    /// The audit of an organization, the oldest first; at most 1,000 rows after the first `skip`.
    pub async fn audit(&self, org: &OrgId, skip: i64) -> Result<Vec<Audited>, Error> {
        let sql = "select at, actor, action, subject, detail from audit where org = $1
            order by sequence limit 1000 offset $2";
        let query = db::query_as(sql).bind(org.as_str()).bind(skip);
        Ok(read!(self, c => query.fetch_all(c))?)
    }
}

impl Tx {
    /// Writes a row of the audit.
    pub(super) async fn audit(
        &mut self,
        org: &str,
        action: &str,
        subject: &str,
        detail: Option<&str>,
        now: Time,
    ) -> Result<(), Error> {
        let actor = self.actor().unwrap_or_else(|| PROGRAM.into());
        let sql = "insert into audit (at, org, actor, action, subject, detail) values ($1, $2, $3, $4, $5, $6)";
        let query = db::query(sql).bind(now.0).bind(org).bind(&*actor);
        let query = query.bind(action).bind(subject).bind(detail);
        execute!(self, query)?;
        Ok(())
    }

    /// Writes a row about a webhook target that is there.
    pub(super) async fn audit_target(
        &mut self,
        id: &TargetId,
        action: &str,
        detail: Option<&str>,
        now: Time,
    ) -> Result<(), Error> {
        let sql = "select org from targets where id = $1";
        let query = db::query_scalar(sql).bind(id.as_str());
        let org: String = on!(self, c => query.fetch_one(c))?;
        self.audit(&org, action, id.as_str(), detail, now).await
    }

    /// Writes a row about the address to which a stored credential is sent, and one about the credential, where they
    /// change; `before` is the repository before.
    pub(super) async fn audit_upstream(
        &mut self,
        before: &Repo,
        change: &Change<NewUpstream>,
        now: Time,
    ) -> Result<(), Error> {
        let stored = before.upstream.as_ref();
        for (action, detail) in [
            ("upstream.url", new_address(stored, change)),
            ("upstream.auth", new_credential(stored, change)),
        ] {
            if detail.is_some() {
                let (org, repo) = (before.org.as_str(), before.id.as_str());
                self.audit(org, action, repo, detail, now).await?;
            }
        }
        Ok(())
    }
}

/// The other address that the credential of an upstream is sent to from now on.
fn new_address<'a>(stored: Option<&Upstream>, change: &'a Change<NewUpstream>) -> Option<&'a str> {
    let (Some(stored), Change::Set(new)) = (stored, change) else {
        return None;
    };
    let has_credential = match &new.auth {
        Change::Keep => stored.auth_kind.is_some(),
        Change::Clear => false,
        Change::Set(_) => true,
    };
    (has_credential && new.url != stored.url).then_some(&new.url)
}

/// The kind of the credential that an upstream has from now on, if it is another one.
fn new_credential(stored: Option<&Upstream>, change: &Change<NewUpstream>) -> Option<&'static str> {
    let had_one = stored.is_some_and(|stored| stored.auth_kind.is_some());
    let change = match change {
        Change::Set(new) => &new.auth,
        Change::Clear => &Change::Clear,
        Change::Keep => return None,
    };
    match change {
        Change::Set(sealed) => Some(sealed.kind.as_str()),
        Change::Clear if had_one => Some("none"),
        _ => None,
    }
}

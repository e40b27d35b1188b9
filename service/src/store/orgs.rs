//! Organizations.

use super::{
    Store, cells, db,
    tx::{execute, read},
};
use crate::{
    Error, ids,
    records::{Name, Org, OrgId, Time},
};

#[derive(sqlx::FromRow)]
pub(super) struct OrgRow {
    #[sqlx(rename = "org_id")]
    id: String,
    #[sqlx(rename = "org_slug")]
    slug: String,
    #[sqlx(rename = "org_name")]
    name: String,
}

/// The columns of an [`OrgRow`], of the table `o`.
macro_rules! org_columns {
    () => {
        "o.id as org_id, o.slug as org_slug, o.name as org_name"
    };
}
pub(super) use org_columns;

impl OrgRow {
    pub(super) fn record(self) -> Result<Org, Error> {
        Ok(Org {
            id: cells::parsed(&self.id, "id of an organization")?,
            slug: self.slug,
            name: self.name,
        })
    }
}

impl Store {
    /// Makes an organization; `None` if there is one with this slug, without regard to case.
    pub async fn create_org(
        &self,
        slug: &Name,
        name: &str,
        now: Time,
    ) -> Result<Option<Org>, Error> {
        let id: OrgId = ids::new();
        let mut tx = self.begin().await?;
        let sql =
            "insert into orgs (id, slug, folded, name, created_at) values ($1, $2, $3, $4, $5)
            on conflict (folded) do nothing";
        let query = db::query(sql).bind(id.as_str()).bind(slug.as_str());
        let query = query.bind(slug.folded()).bind(name).bind(now.0);
        if execute!(tx, query)? == 0 {
            return Ok(None);
        }
        let org = id.as_str();
        tx.audit(org, "org.created", org, Some(slug.as_str()), now)
            .await?;
        tx.commit().await?;
        Ok(Some(Org {
            id,
            slug: slug.as_str().to_owned(),
            name: name.to_owned(),
        }))
    }

    /// The organization with this slug, without regard to case.
    pub async fn org_by_slug(&self, slug: &str) -> Result<Option<Org>, Error> {
        let sql = concat!(
            "select ",
            org_columns!(),
            " from orgs o where o.folded = $1"
        );
        let folded = cells::folded(slug);
        let row: Option<OrgRow> =
            read!(self, c => db::query_as(sql).bind(folded).fetch_optional(c))?;
        row.map(OrgRow::record).transpose()
    }

    /// Whether there is an organization.
    pub async fn has_orgs(&self) -> Result<bool, Error> {
        let sql = "select exists (select 1 from orgs)";
        Ok(read!(self, c => db::query_scalar(sql).fetch_one(c))?)
    }
}

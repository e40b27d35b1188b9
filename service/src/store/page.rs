//! Pages of lists. A cursor names the last row of the page before, so that pages do not move while rows are added.

use std::str::FromStr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::{Error, ErrorKind};

/// The wanted part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The cursor of the page before.
    pub after: Option<String>,
    /// The number of rows.
    pub limit: u32,
}

/// A part of a list.
#[derive(Debug, Clone)]
pub struct Rows<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next page.
    pub next: Option<String>,
    /// Whether there are more rows.
    pub has_more: bool,
}

/// The list that a cursor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Keys,
    Repos,
    SyncRuns,
    Targets,
    Deliveries,
}

/// The form of the cursors of this version.
const FORM: u8 = 1;

impl Page {
    /// The id of the last row of the page before, if there is one.
    pub(super) fn last<T: FromStr>(&self, list: List) -> Result<Option<T>, Error> {
        let read = |cursor: &String| {
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
            let id = bytes.strip_prefix(&[FORM, list as u8])?;
            std::str::from_utf8(id).ok()?.parse().ok()
        };
        let refused = || {
            Error::new(
                ErrorKind::InvalidCursor,
                "this list has not given out the cursor",
            )
        };
        let last = self
            .after
            .as_ref()
            .map(|cursor| read(cursor).ok_or_else(refused));
        last.transpose()
    }

    /// The number of rows to read: one more than wanted shows whether there are more.
    pub(super) fn fetched(&self) -> i64 {
        i64::from(self.limit) + 1
    }
}

impl Page {
    /// Whether so many rows, read with the limit of [`Page::fetched`], are the last ones.
    pub(super) fn is_end(&self, rows: usize) -> bool {
        rows <= self.limit as usize
    }

    /// Whether so many rows are enough for the page and for whether there are more.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        !self.is_end(rows)
    }
}

impl<T> Rows<T> {
    /// The page of `fetched` rows, which are one more than wanted if there are more.
    pub(super) fn of(
        mut fetched: Vec<T>,
        page: &Page,
        list: List,
        id: impl Fn(&T) -> &str,
    ) -> Self {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let has_more = fetched.len() > limit;
        fetched.truncate(limit);
        let cursor = |last: &T| {
            let mut bytes = vec![FORM, list as u8];
            bytes.extend_from_slice(id(last).as_bytes());
            BASE64_URL_SAFE_NO_PAD.encode(bytes)
        };
        let next = fetched.last().filter(|_| has_more).map(cursor);
        Rows {
            rows: fetched,
            next,
            has_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{RepoId, SyncId};

    #[test]
    fn cursors_of_other_lists_are_refused() {
        let page = Page {
            after: None,
            limit: 1,
        };
        assert_eq!(
            page.last::<SyncId>(List::SyncRuns).expect("no cursor"),
            None
        );
        let ids = vec![RepoId::from_bits(1), RepoId::from_bits(2)];
        let rows = Rows::of(ids.clone(), &page, List::Repos, RepoId::as_str);
        assert!(rows.has_more && rows.rows == ids[..1]);
        let page = |after: &str| Page {
            after: Some(after.to_owned()),
            limit: 1,
        };
        let next = rows.next.expect("a cursor");
        let last = page(&next)
            .last::<RepoId>(List::Repos)
            .expect("its own list");
        assert_eq!(last, Some(ids[0].clone()));
        for (cursor, list) in [
            (next.as_str(), List::Keys),
            (&next[1..], List::Repos),
            ("", List::Repos),
            ("%", List::Repos),
        ] {
            let err = page(cursor).last::<RepoId>(list).expect_err("refused");
            assert_eq!(err.kind(), ErrorKind::InvalidCursor, "{cursor}");
        }
    }
}

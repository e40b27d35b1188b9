//! The caller itself.

use serde::Serialize;

use super::answer::{Answer, ok};
use super::caller::{Caller, Read};
use crate::records::{KeyId, Org, Scope};

#[derive(Serialize)]
struct WhoAmI<'a> {
    org: &'a Org,
    key_id: &'a KeyId,
    key_name: Option<&'a str>,
    scopes: &'a [Scope],
}

/// GET `/whoami`
pub(super) async fn get(caller: Caller<Read>) -> Answer {
    ok(&WhoAmI {
        org: &caller.org,
        key_id: &caller.key.id,
        key_name: caller.key.name.as_deref(),
        scopes: &caller.key.scopes,
    })
}

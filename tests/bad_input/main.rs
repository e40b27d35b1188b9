//! Everything that can be wrong with the input: a typed error, and a destination that is the same
//! byte for byte.
#![cfg(feature = "http")]

mod answers;
mod ends;
mod packs;

#[path = "../support/mod.rs"]
mod support;

use refsync::{Error, ErrorKind, SyncOptions};
use support::pull::Pair;

/// The run fails with an error of this kind and changes nothing, not even a file's name.
#[track_caller]
fn fails(pair: &Pair, kind: ErrorKind) -> Error {
    let files = pair.destination.files();
    let err = match pair.try_pull(&SyncOptions::default()) {
        Err(err) => err,
        Ok(stats) => panic!("{kind:?} was expected, not {stats:?}"),
    };
    assert_eq!(err.kind(), kind, "{err:?}");
    assert_eq!(pair.destination.files(), files, "{err:?}");
    let passing = [
        ErrorKind::Network,
        ErrorKind::RateLimited,
        ErrorKind::ServerError,
    ];
    assert_eq!(err.is_retryable(), passing.contains(&kind));
    err
}

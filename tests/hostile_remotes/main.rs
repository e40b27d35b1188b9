//! Remotes that mean harm, in what they send and in where they lead: each ends in a typed error, soon
//! and at a small cost.
#![cfg(feature = "http")]

mod endless;
mod forbidden;
mod garbage;
mod memory;
mod patience;
mod raw;
mod redirects;
#[path = "../support/mod.rs"]
mod support;

use refsync::{
    Error, PackAnswer, PackRequest, RefSource as _, Service, SmartHttp, SyncContext, SyncOptions,
};

/// The operation that is asked of a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Listing,
    ListingForPush,
    Pack,
}

fn remote(url: &str) -> SmartHttp {
    support::remote(url)
}

/// Gives the run's error, and how many bytes it received until then.
#[track_caller]
fn fails(remote: &SmartHttp, ask: Ask, options: &SyncOptions) -> (Error, u64) {
    let context = SyncContext::new(options);
    let done = match ask {
        Ask::Listing => remote.list(Service::UploadPack, &[], &context).map(drop),
        Ask::ListingForPush => remote.list(Service::ReceivePack, &[], &context).map(drop),
        Ask::Pack => fetch(remote, &context),
    };
    let err = done.expect_err("a hostile remote");
    (err, context.traffic().bytes_received)
}

fn fetch(remote: &SmartHttp, context: &SyncContext) -> Result<(), Error> {
    let mut request = PackRequest::default();
    let tip = raw::ID.as_bytes();
    request.wants = vec![refsync::ObjectId::from_hex(tip).expect("hex")];
    let mut receive = |pack: &mut dyn std::io::BufRead| {
        // It is up to the receiver when a pack is over; this one takes all there is.
        match std::io::copy(pack, &mut std::io::sink()) {
            Ok(_) => Ok(()),
            Err(err) => Err(Error::new(refsync::ErrorKind::Protocol, err.to_string())),
        }
    };
    match remote.upload_pack(&request, &mut receive, context)? {
        // A run that gets nothing at all fails in these words.
        PackAnswer::GaveUp { detail, .. } => Err(Error::new(refsync::ErrorKind::Remote, detail)),
        _ => Ok(()),
    }
}

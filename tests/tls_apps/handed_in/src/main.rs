use std::sync::Arc;

use rustls::crypto::aws_lc_rs;

#[path = "../../common.rs"]
mod common;

fn main() {
    common::both_work(aws_lc_rs::default_provider(), |remote| {
        remote.with_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
    });
}

#[path = "../../common.rs"]
mod common;

fn main() {
    common::both_work(rustls::crypto::aws_lc_rs::default_provider(), |remote| {
        remote
    });
}

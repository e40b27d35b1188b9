#[path = "../../common.rs"]
mod common;

fn main() {
    common::both_work(rustls::crypto::ring::default_provider(), |remote| remote);
}

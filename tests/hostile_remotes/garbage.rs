//! Answers put together at random from what Git and HTTP are made of: each ends in a result, whatever
//! that is, and none in a panic.

use super::raw::{ID, Raw, Talk, announced, capabilities, first_ref, head, packet};
use super::{fetch, remote};
use proptest::prelude::*;
use refsync::{RefSource as _, Service, SyncContext, SyncOptions};
use std::sync::{Arc, Mutex};

fn parts() -> impl Strategy<Value = Vec<u8>> {
    let lines = [
        "version 1\n",
        "version 2\n",
        "version 3\n",
        "# service=git-upload-pack\n",
        "object-format=sha256\n",
        "object-format=x\n",
        "\0",
        "\0x",
        "x\0",
        "ERR no\n",
        "NAK\n",
        "ACK\n",
        "ready\n",
        "shallow \n",
        "acknowledgments\n",
        "shallow-info\n",
        "wanted-refs\n",
        "packfile\n",
        "\u{1}PACK",
        "\u{1}",
        "\u{2}text\n",
        "\u{2}100% (\u{7f})\r",
        "\u{3}",
        "\u{3}text",
        "\u{4}",
        "unborn HEAD",
        "\n",
    ];
    let ids = [
        " refs/heads/a",
        " refs/heads/a^{}",
        " capabilities^{}\0x",
        " HEAD\0a b=c",
    ];
    let ids = ids.map(|rest| format!("{ID}{rest}\n"));
    let acks = ["ACK ", "shallow ", "unshallow "].map(|word| format!("{word}{ID}\n"));
    let lines = lines.map(str::to_owned).into_iter().chain(ids).chain(acks);
    let raw = [
        "0000", "0001", "0002", "0003", "0004", "0005", "fff0", "ffff", "zz", "\0", "",
    ];
    let raw = raw.map(|raw| raw.as_bytes().to_vec());
    let whole = [capabilities(), announced(), first_ref()];
    let all: Vec<_> = lines.map(packet).chain(raw).chain(whole).collect();
    prop::collection::vec(prop::sample::select(all), 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn nothing_panics() {
    let talk = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let told = talk.clone();
    let server = Raw::start(move |request, stream| {
        let (listing, result) = told.lock().unwrap().clone();
        let body = if request.is_listing() {
            listing
        } else {
            result
        };
        let framing = "Connection: close\r\n";
        let start = [head(request, framing).into_bytes(), body].concat();
        let again = Vec::new();
        Talk { start, again }.write(stream)
    });
    let listing = prop_oneof![
        Just(capabilities()),
        Just([first_ref(), b"0000".to_vec()].concat()),
        parts()
    ];
    proptest!(|(listing in listing, result in parts())| {
        *talk.lock().unwrap() = (listing, result);
        let remote = remote(&server.url());
        let context = SyncContext::new(&SyncOptions::default());
        let _ = remote.list(Service::UploadPack, &[], &context);
        let _ = remote.list(Service::ReceivePack, &[], &context);
        let _ = fetch(&remote, &context);
    });
}

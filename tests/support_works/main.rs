//! The tests' support, tried with real git: a suite is worth what its server and repositories are.

mod faults;
mod repositories;
mod serving;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use support::{GitServer, ObjectFormat, Repo, Sandbox};

const DATE: i64 = 1_700_000_000;

fn origin(format: ObjectFormat) -> (Sandbox, Repo) {
    let sandbox = Sandbox::new();
    let origin = sandbox.init_bare("origin.git", format);
    let root = origin.commit("main", &[], "root\n", &[("a", "1")], DATE);
    origin.commit("main", &[&root], "tip\n", &[("a", "2")], DATE);
    (sandbox, origin)
}

/// One request as written here, and all that comes back until the server closes.
fn exchange(server: &GitServer, request: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

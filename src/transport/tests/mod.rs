//! The client against a server on this machine that follows a script.

mod answers;
mod cancellation;
mod reuse;
mod second_tries;
mod secrets;
mod security;
mod server;
mod uploads;

use std::{io::Read as _, sync::Arc, time::Duration};

use self::server::{Server, Step};
use super::{Call, ClientOptions, HttpClient, NetworkPolicy, RemoteUrl, Timeouts};
use crate::{Error, ErrorKind};

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

fn options(url: &str) -> ClientOptions {
    ClientOptions {
        policy: NetworkPolicy::any(),
        ..ClientOptions::new(RemoteUrl::parse(url).expect("a valid URL"))
    }
}

fn client(url: &str) -> HttpClient {
    HttpClient::new(options(url)).expect("a client")
}

fn call(repository: &RemoteUrl) -> Call<'_> {
    Call {
        repository,
        service: "git-upload-pack",
        version: Some("2"),
    }
}

/// Asks for the advertisement of the repository at `url` and reads the answer to its end.
fn get(client: &HttpClient, url: &str) -> Result<String, Error> {
    let url = RemoteUrl::parse(url).expect("a valid URL");
    let mut text = String::new();
    let read = client.discover(&call(&url))?.read_to_string(&mut text);
    match read {
        Ok(_) => Ok(text),
        Err(_) => Err(client.take_failure().expect("each error is recorded")),
    }
}

fn kind_of_get(url: &str) -> ErrorKind {
    get(&client(url), url).expect_err("no answer").kind()
}

/// An answer with the status line and headers given and a body of the length given there.
fn response(status: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    format!("{text}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A good answer to [`get`].
fn ok(body: &str) -> Vec<u8> {
    response("200 OK", &[&format!("Content-Type: {ADVERTISEMENT}")], body)
}

fn ok_head(framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {ADVERTISEMENT}\r\n{framing}\r\n")
}

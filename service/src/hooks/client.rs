//! [`Client`], which makes one attempt to deliver a body to a target.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1,
    header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use refsync::NetworkPolicy;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::{LookUp, TargetUrl, connector::Connector};

/// The part of an answer's body that is kept.
const KEPT_BYTES: usize = 1024;

/// The most bytes of an answer's head, and the most header fields in it.
const MOST_HEAD_BYTES: usize = 32 << 10;
const MOST_HEADERS: usize = 100;

/// A client for deliveries. It makes a connection for each attempt, follows no redirect and asks no proxy.
#[derive(Clone)]
pub struct Client {
    connector: Arc<Connector>,
    time: Duration,
}

/// The answer of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body, without control characters.
    pub body: String,
}

impl Answer {
    /// Whether the target has accepted the event. A redirect is not followed, so it is a refusal.
    pub fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the target says that it is gone for good.
    pub fn is_gone(&self) -> bool {
        self.status == 410
    }
}

/// A body to deliver.
#[derive(Debug, Clone)]
pub struct Message {
    /// The body, which is JSON.
    pub body: Bytes,
    /// Further header fields: signatures.
    pub headers: Vec<(&'static str, String)>,
}

impl Client {
    /// The client that connects to the addresses that `policy` allows. `time` is that of a whole attempt. Tests
    /// bring a resolver and a certificate authority of their own.
    ///
    /// # Errors
    /// A root certificate can't be used.
    pub fn new(
        policy: NetworkPolicy,
        time: Duration,
        look_up: LookUp,
        extra_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        Ok(Client {
            connector: Arc::new(Connector::new(policy, look_up, extra_roots)?),
            time,
        })
    }

    /// Sends the message once and waits for the answer.
    ///
    /// # Errors
    /// The reason why there is no answer, for the target's owner.
    pub async fn post(&self, url: &TargetUrl, message: &Message) -> Result<Answer, String> {
        let deadline = Instant::now() + self.time;
        let late = |_| format!("no answer within {} s", self.time.as_secs());
        let (response, _connection) = timeout_at(deadline, self.send(url, message, deadline))
            .await
            .map_err(late)??;
        // The status decides. What comes of the body by then is shown to people.
        let status = response.status().as_u16();
        let mut kept = Vec::new();
        timeout_at(deadline, keep_beginning(response, &mut kept))
            .await
            .ok();
        Ok(Answer {
            status,
            body: printable(&kept),
        })
    }

    async fn send(
        &self,
        url: &TargetUrl,
        message: &Message,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, AbortOnDropHandle<()>), String> {
        let request = request(url, message)?;
        let stream = self.connector.connect(url.origin(), deadline).await;
        let stream = stream.map_err(|err| explained(&err))?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MOST_HEAD_BYTES)
            .max_headers(MOST_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|err| explained(&err))?;
        // An answer that never ends is read no further than this attempt.
        let connection = AbortOnDropHandle::new(tokio::spawn(async { drop(connection.await) }));
        let response = sender.send_request(request).await;
        Ok((response.map_err(|err| explained(&err))?, connection))
    }
}

fn request(url: &TargetUrl, message: &Message) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::post(url.path())
        .header(HOST, url.host_header())
        .header(USER_AGENT, concat!("refsyncd/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONTENT_TYPE, "application/json")
        .header("connection", "close");
    for (name, value) in &message.headers {
        request = request.header(*name, value);
    }
    request
        .body(Full::new(message.body.clone()))
        .map_err(|err| err.to_string())
}

/// Reads until enough is kept, or the body ends or breaks.
async fn keep_beginning(response: Response<Incoming>, kept: &mut Vec<u8>) {
    let mut body = response.into_body();
    while kept.len() < KEPT_BYTES {
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        if let Some(data) = frame.data_ref() {
            let rest = KEPT_BYTES - kept.len();
            kept.extend_from_slice(&data[..data.len().min(rest)]);
        }
    }
}

/// The text without control characters: it is shown to people and stored.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    let mut text: String = text.chars().map(shown).collect();
    // What replaces one byte has three.
    text.truncate(text.floor_char_boundary(KEPT_BYTES));
    text
}

/// The error and its causes in one line.
fn explained(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        text = format!("{text}: {err}");
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_a_success() {
        for (status, accepted, gone) in [
            (200, true, false),
            (204, true, false),
            (299, true, false),
            (301, false, false),
            (307, false, false),
            (400, false, false),
            (410, false, true),
            (503, false, false),
        ] {
            let answer = Answer {
                status,
                body: String::new(),
            };
            assert_eq!((answer.is_accepted(), answer.is_gone()), (accepted, gone));
        }
    }

    #[test]
    fn what_is_kept_can_be_printed() {
        assert_eq!(
            printable(b"a\0b\x1b[31m\n\xff"),
            "a\u{fffd}b\u{fffd}[31m\n\u{fffd}"
        );
    }
}

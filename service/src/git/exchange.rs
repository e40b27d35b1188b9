//! One exchange with git's program: the request goes in, the answer comes out, both while they are made.

use std::{io, process::ExitStatus, time::Duration};

use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, ChildStdout},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    answer::Refusal,
    backend::Backend,
    cgi::{self, Head},
    input::Input,
};

/// The bytes that are read at once.
const READ: usize = 32 << 10;
/// The parts of an answer that wait for a slow client.
pub(super) const PARTS: usize = 4;
/// The bytes of an answer that are kept to be read: the report on some 400,000 refs.
const KEPT: usize = 32 << 20;

/// The client's side of an exchange.
pub(super) struct Client {
    /// The request.
    pub(super) input: Input,
    /// The head of the answer, or the reason why there is none.
    pub(super) head: Option<oneshot::Sender<Result<Head, Refusal>>>,
    /// The body of the answer.
    pub(super) body: mpsc::Sender<io::Result<Bytes>>,
}

/// The end of an exchange.
pub(super) enum End {
    /// The program has ended by itself.
    Done(ExitStatus),
    /// The client has gone.
    Gone,
    /// The exchange has ended for this reason.
    Refused(Refusal),
}

/// Carries one exchange through until the program has ended. `kept` gets the answer if it is there.
pub(super) async fn carry(
    backend: &mut Backend,
    client: &mut Client,
    kept: Option<&mut Vec<u8>>,
    time: Duration,
    stop: &CancellationToken,
) -> End {
    let gone = client.body.clone();
    let end = tokio::select! {
        done = both_ways(backend, client, kept) => match done {
            Ok(status) => End::Done(status),
            Err(refusal) => End::Refused(refusal),
        },
        () = gone.closed() => End::Gone,
        () = tokio::time::sleep(time) => {
            End::Refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the request has taken too long"))
        }
        () = stop.cancelled() => {
            End::Refused(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the service stops"))
        }
    };
    if !matches!(end, End::Done(_)) {
        backend.end().await;
    }
    end
}

async fn both_ways(
    backend: &mut Backend,
    client: &mut Client,
    kept: Option<&mut Vec<u8>>,
) -> Result<ExitStatus, Refusal> {
    let (stdin, stdout) = backend.pipes().map_err(|err| Refusal::internal(&err))?;
    let Client { input, head, body } = client;
    tokio::try_join!(feed(stdin, input), drain(stdout, head, body, kept))?;
    backend.wait().await.map_err(|err| Refusal::internal(&err))
}

/// Writes the request. A program that has read enough closes its end, which is no fault.
async fn feed(mut stdin: ChildStdin, input: &mut Input) -> Result<(), Refusal> {
    while let Some(part) = input.next().await? {
        if stdin.write_all(&part).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn drain(
    mut stdout: ChildStdout,
    head: &mut Option<oneshot::Sender<Result<Head, Refusal>>>,
    body: &mpsc::Sender<io::Result<Bytes>>,
    mut kept: Option<&mut Vec<u8>>,
) -> Result<(), Refusal> {
    let mut read = BytesMut::new();
    loop {
        read.reserve(READ);
        let length = stdout
            .read_buf(&mut read)
            .await
            .map_err(|err| Refusal::internal(&err))?;
        let is_end = length == 0;
        if let Some(sender) = head.take() {
            match cgi::head(&read) {
                // Not before the body begins: until then the exchange may end with another status.
                Ok(Some((found, length))) if is_end || read.len() > length => {
                    sender.send(Ok(found)).ok();
                    drop(read.split_to(length));
                }
                Ok(_) if !is_end => *head = Some(sender),
                _ => {
                    *head = Some(sender);
                    return Err(Refusal::internal(&io::Error::other(
                        "git http-backend gave no answer",
                    )));
                }
            }
        }
        if head.is_none() && !read.is_empty() {
            let part = read.split().freeze();
            if let Some(kept) = kept.as_deref_mut().filter(|kept| kept.len() < KEPT) {
                kept.extend_from_slice(&part);
            }
            // The client's end is noticed elsewhere; the program's answer is read on for the report in it.
            body.send(Ok(part)).await.ok();
        }
        if is_end {
            return Ok(());
        }
    }
}

impl Client {
    /// Tells the client of an end that is not the program's own.
    pub(super) async fn refuse(&mut self, refusal: Refusal) {
        match self.head.take() {
            Some(head) => {
                head.send(Err(refusal)).ok();
            }
            // A cut answer, which the client sees as one.
            None => {
                self.body
                    .send(Err(io::Error::other("the request was ended")))
                    .await
                    .ok();
            }
        }
    }
}

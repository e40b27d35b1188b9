//! [`Unstalled`], a connection that ends when its client takes nothing of an answer.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A connection whose writes fail once the other side has taken no byte for a time. A slow one that takes some goes on
/// for as long as it likes: bounds on the whole are those of the requests.
pub(crate) struct Unstalled<T> {
    connection: T,
    time: Duration,
    waits: Pin<Box<Sleep>>,
    is_waiting: bool,
}

impl<T> Unstalled<T> {
    pub(crate) fn new(connection: T, time: Duration) -> Self {
        Unstalled {
            connection,
            time,
            waits: Box::pin(sleep(time)),
            is_waiting: false,
        }
    }

    /// The answer to a write, or the failure of one that has waited for too long.
    fn bounded<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.is_waiting = false;
            return written;
        }
        if !self.is_waiting {
            self.is_waiting = true;
            self.waits.as_mut().reset(Instant::now() + self.time);
        }
        ready!(self.waits.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Unstalled<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, to)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Unstalled<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.bounded(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(context, parts);
        self.bounded(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.connection).poll_flush(context);
        self.bounded(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.connection).poll_shutdown(context);
        self.bounded(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_left() {
        let (ours, _theirs) = duplex(64);
        let mut ours = Unstalled::new(ours, Duration::from_millis(50));
        let written = ours.write_all(&[0; 65]).await;
        assert_eq!(
            written.map_err(|err| err.kind()),
            Err(io::ErrorKind::TimedOut)
        );
    }

    #[tokio::test]
    async fn a_slow_client_gets_everything() {
        let (ours, mut theirs) = duplex(64);
        let bound = Duration::from_secs(2);
        let mut ours = Unstalled::new(ours, bound);
        let began = Instant::now();
        let reader = async {
            let mut part = [0; 64];
            for _ in 0..10 {
                tokio::time::sleep(bound / 8).await;
                theirs.read_exact(&mut part).await.expect("a part");
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&[0; 640]), reader);
        written.expect("all of it");
        assert!(began.elapsed() > bound);
    }
}

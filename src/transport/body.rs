//! The bodies of answers.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex},
};

use super::{link::Link, response::incomplete};
use crate::{ErrorKind, scoped_workers::lock};

/// The body of a response. Clones share one position.
///
/// Its errors are in [`Link::failure`] by the time they are returned.
#[derive(Clone)]
pub(crate) struct ResponseBody {
    link: Arc<Link>,
    /// `None` after an error: a broken body must not look complete when it is read again.
    rest: Arc<Mutex<Option<ureq::BodyReader<'static>>>>,
}

impl ResponseBody {
    pub(super) fn new(link: Arc<Link>, body: ureq::BodyReader<'static>) -> Self {
        ResponseBody {
            link,
            rest: Arc::new(Mutex::new(Some(body))),
        }
    }

    /// Drops the rest of the body, and with it the connection.
    pub(super) fn abandon(&self) {
        lock(&self.rest).take();
    }
}

impl Read for ResponseBody {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest = lock(&self.rest);
        let Some(mut body) = rest.take() else {
            return Err(io::Error::other("the request failed before"));
        };
        let read = body.read(buf).map_err(|err| {
            let err = incomplete(ureq::Error::from(err), ErrorKind::Protocol);
            self.link.failure.record(err)
        })?;
        if read > 0 {
            self.link.request().framing.ends();
        }
        *rest = Some(body);
        Ok(read)
    }
}

//! What is asked of a repository: one of git's two services, or what it has to say of itself.

use ureq::http::{self, Request, header, request};

use super::{HttpClient, RemoteUrl, body::ResponseBody, socket::connection_broke};
use crate::{Error, ErrorKind};

/// What is called on the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) repository: &'a RemoteUrl,
    /// Such as `git-upload-pack`.
    pub(crate) service: &'a str,
    /// Of Git's protocol, where the server has to be told.
    pub(crate) version: Option<&'a str>,
    /// Whether the server may move refs as soon as it has all of the body.
    pub(crate) moves_refs: bool,
}

impl Call<'_> {
    /// Calls the service.
    pub(super) fn request(&self) -> request::Builder {
        let service = self.service;
        self.versioned(Request::post(self.url(service)))
            .header(
                header::CONTENT_TYPE,
                format!("application/x-{service}-request"),
            )
            .header(header::ACCEPT, format!("application/x-{service}-result"))
    }

    /// Asks what the service has to say of itself (gitprotocol-http(5), "Discovering References").
    fn discovery(&self) -> request::Builder {
        let path = format!("info/refs?service={}", self.service);
        self.versioned(Request::get(self.url(&path)))
    }

    fn url(&self, path: &str) -> String {
        let repository = self.repository.as_str().trim_end_matches('/');
        format!("{repository}/{path}")
    }

    fn versioned(&self, request: request::Builder) -> request::Builder {
        match self.version {
            Some(version) => request.header("Git-Protocol", format!("version={version}")),
            None => request,
        }
    }
}

impl HttpClient {
    /// What the service has to say of itself.
    pub(crate) fn discover(&self, call: &Call<'_>) -> Result<ResponseBody, Error> {
        self.finish();
        self.take_failure();
        let try_discover = || {
            let request = call.discovery().body(()).map_err(not_http)?;
            let expected = format!("application/x-{}-advertisement", call.service);
            self.answer(self.ask(request, None)?, &expected)
        };
        try_discover().map_err(|err| {
            self.0.link.failure.record(err);
            self.take_failure().unwrap_or_else(connection_broke)
        })
    }
}

pub(super) fn not_http(err: http::Error) -> Error {
    let text = "the request can't be expressed in HTTP";
    Error::new(ErrorKind::Protocol, text).with_source(err)
}

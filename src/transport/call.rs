//! Calls to one of git's two services of a repository, and the discovery of its refs.

use ureq::http::{self, Request, header, request};

use super::{HttpClient, RemoteUrl, body::ResponseBody};
use crate::{Error, ErrorKind};

/// A call to a service of a repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) repository: &'a RemoteUrl,
    /// The service, such as `git-upload-pack`.
    pub(crate) service: &'a str,
    /// The protocol version to request (`Git-Protocol`), if any.
    pub(crate) version: Option<&'a str>,
}

impl Call<'_> {
    /// Whether the server may move refs as soon as it has all of the body.
    pub(super) fn moves_refs(&self) -> bool {
        self.service == "git-receive-pack"
    }

    /// The request that calls the service.
    pub(super) fn request(&self) -> request::Builder {
        let service = self.service;
        self.versioned(Request::post(self.url(service)))
            .header(
                header::CONTENT_TYPE,
                format!("application/x-{service}-request"),
            )
            .header(header::ACCEPT, format!("application/x-{service}-result"))
    }

    /// The request for the advertisement of the service (gitprotocol-http(5), "Discovering References").
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
    /// Gets the advertisement of the service.
    pub(crate) fn discover(&self, call: &Call<'_>) -> Result<ResponseBody, Error> {
        self.finish();
        self.take_failure();
        let try_discover = || {
            let request = call.discovery().body(()).map_err(not_http)?;
            let expected = format!("application/x-{}-advertisement", call.service);
            self.answer(self.accept(self.exchange(request, None)?)?, &expected)
        };
        try_discover().map_err(|err| self.first_failure(err))
    }
}

pub(super) fn not_http(err: http::Error) -> Error {
    let text = "the request can't be expressed in HTTP";
    Error::new(ErrorKind::Protocol, text).with_source(err)
}

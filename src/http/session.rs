//! [`Session`]: a kept connection to a server, and the services that were advertised on it.

use std::sync::MutexGuard;

use super::{SmartHttp, services::UploadPackService};
use crate::{
    Error, ErrorKind, RefList, RemoteUrl, Service, SyncContext,
    protocol::{
        advertisement::{self, Advertisement},
        fetch::shallow_source,
        ref_line::V0Lines,
    },
    scoped_workers::lock,
    transport::{Call, HttpClient},
};

/// A connection, and the services that the server advertised on it.
pub(super) struct Session {
    url: RemoteUrl,
    /// The URL of requests: the given one, or the target of its redirect.
    pub(super) base: RemoteUrl,
    pub(super) client: HttpClient,
    pub(super) upload_pack: Option<UploadPackService>,
    /// The advertisement of receive-pack without its refs.
    pub(super) receive_pack: Option<Advertisement>,
    /// Whether the session cannot be reused, although its last operation has a result.
    pub(super) is_broken: bool,
}

impl SmartHttp {
    /// Calls `work` with the kept session, or with a new one. After an error the session is not kept.
    pub(super) fn in_session<T>(
        &self,
        context: &SyncContext,
        work: impl FnOnce(&mut Session) -> Result<T, Error>,
    ) -> Result<T, Error> {
        context.check()?;
        let kept = self.kept_session().take();
        let mut session = kept.map_or_else(|| self.open_session(), Ok)?;
        session.client.set_run(context.budget().clone());
        let done = work(&mut session);
        let is_sound = done.is_ok() && !session.is_broken;
        if is_sound {
            session.client.finish();
            *self.kept_session() = Some(session);
        }
        done
    }

    pub(super) fn kept_session(&self) -> MutexGuard<'_, Option<Session>> {
        lock(&self.session)
    }

    fn open_session(&self) -> Result<Session, Error> {
        let options = &self.options;
        Ok(Session {
            url: options.url.clone(),
            base: options.url.clone(),
            client: HttpClient::new(options.clone())?,
            upload_pack: None,
            receive_pack: None,
            is_broken: false,
        })
    }
}

impl Session {
    /// Requests the capabilities of upload-pack. Servers older than v2 list all of their refs with them.
    pub(super) fn discover_upload_pack(
        &mut self,
        context: &SyncContext,
    ) -> Result<(UploadPackService, Option<RefList>), Error> {
        let advertisement = self.discover(Service::UploadPack, context)?;
        let is_shallow = |listed: &V0Lines| !listed.shallow.is_empty();
        if advertisement.listed.as_ref().is_some_and(is_shallow) {
            return Err(shallow_source());
        }
        let known = UploadPackService::new(&advertisement);
        self.upload_pack = Some(known.clone());
        let head = advertisement.head();
        let list = advertisement.listed.map(|listed| {
            let mut list = RefList::of(advertisement.format, listed.refs);
            list.default_branch = head;
            list
        });
        Ok((known, list))
    }

    /// Requests the advertisement of a service, which includes all refs unless the server speaks v2. The request goes to
    /// the given URL, and a redirect is followed if that is allowed.
    pub(super) fn discover(
        &mut self,
        service: Service,
        context: &SyncContext,
    ) -> Result<Advertisement, Error> {
        let first = self.discover_at(self.url.clone(), service, context);
        match (first, self.client.take_moved()) {
            (Err(err), Some(moved)) if err.kind() == ErrorKind::Redirected => {
                tracing::debug!(to = %moved, "the repository has moved");
                self.discover_at(moved, service, context)
            }
            (first, _) => first,
        }
    }

    fn discover_at(
        &mut self,
        base: RemoteUrl,
        service: Service,
        context: &SyncContext,
    ) -> Result<Advertisement, Error> {
        self.base = base;
        // In v2, receive-pack doesn't exist.
        let call = self.call(service, service == Service::UploadPack);
        let answer = self.client.discover(&call)?;
        let advertisement = advertisement::read(answer, call.service, context.limits());
        advertisement.map_err(|err| self.client.take_failure().unwrap_or(err))
    }

    /// A call to a service of the repository, which requests protocol v2 or none.
    pub(super) fn call(&self, service: Service, is_v2: bool) -> Call<'_> {
        Call {
            repository: &self.base,
            service: match service {
                Service::UploadPack => "git-upload-pack",
                Service::ReceivePack => "git-receive-pack",
            },
            version: is_v2.then_some("2"),
        }
    }
}

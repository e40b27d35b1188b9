//! Listing the refs of a server through its upload-pack.

use bstr::BString;

use super::{ServerProfile, SmartHttp, services::UploadPackService, session::Session};
use crate::{Error, ErrorKind, RefList, SyncContext};

impl SmartHttp {
    /// Lists the refs below `prefixes` with the attributes named, or all refs if the server is older than
    /// v2. A known profile of the server saves the request for its capabilities.
    pub(super) fn list_upload_pack(
        &self,
        prefixes: &[BString],
        attributes: &[&str],
        context: &SyncContext,
    ) -> Result<RefList, Error> {
        self.in_session(context, |session| {
            let profile = self.profile();
            let listed = profile
                .as_ref()
                .map(|profile| session.list_known(profile, prefixes, attributes, context));
            let empty = match listed.transpose()?.flatten() {
                Some(listed) if !listed.is_empty() => return Ok(listed),
                empty => empty,
            };
            self.remember(None);
            let (known, advertised) = session.discover_upload_pack(context)?;
            let is_advertisement = advertised.is_some();
            // A redirect is not remembered: a profile is stored only for the given URL.
            let is_known = !is_advertisement && session.base == *self.url();
            let found = is_known.then(|| ServerProfile::new(self.url().clone(), known.format));
            // Only the ids of refs show the object format, so an empty listing had to be confirmed by the capabilities.
            let confirmed = empty.filter(|_| !is_advertisement && found == profile);
            if let Some(confirmed) = confirmed {
                self.remember(found);
                return Ok(confirmed);
            }
            let list = match advertised {
                Some(list) => list,
                None => session.ls_refs(prefixes, attributes, &known, context)?,
            };
            self.remember(found);
            Ok(list)
        })
    }
}

impl Session {
    /// Lists the refs of a server with this profile; `None` if the server turns out to differ from it.
    fn list_known(
        &mut self,
        profile: &ServerProfile,
        prefixes: &[BString],
        attributes: &[&str],
        context: &SyncContext,
    ) -> Result<Option<RefList>, Error> {
        let known = UploadPackService::known(profile.object_format());
        self.base = profile.url().clone();
        match self.ls_refs(prefixes, attributes, &known, context) {
            Ok(list) => {
                self.upload_pack = Some(known);
                Ok(Some(list))
            }
            Err(err) if is_surprise(&err) => {
                tracing::debug!(%err, "the server is not as it was");
                self.client.abandon();
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }
}

/// Whether a server may answer differently after its capabilities were requested. It will not if it limits requests or
/// requires credentials.
fn is_surprise(err: &Error) -> bool {
    use ErrorKind::*;
    let is_about_the_server = matches!(
        err.kind(),
        Network
            | PermissionDenied
            | NotFound
            | ServerError
            | Redirected
            | NotAGitServer
            | Protocol
            | Remote
            | Unsupported
    );
    is_about_the_server && err.retry_after().is_none()
}

//! The two services of a server, as far as requests depend on what the server advertised.

use crate::{
    ObjectFormat, PackRequest,
    protocol::{advertisement::Advertisement, capabilities::Capabilities, fetch::Dialect},
};

/// The upload-pack of a server, as it was advertised or is assumed to be.
#[derive(Debug, Clone)]
pub(crate) struct UploadPackService {
    pub(crate) dialect: Dialect,
    pub(super) format: ObjectFormat,
    /// Whether the server did not advertise it.
    is_assumed: bool,
}

impl UploadPackService {
    pub(crate) fn new(advertisement: &Advertisement) -> Self {
        let capabilities = advertisement.capabilities.clone();
        UploadPackService {
            dialect: match advertisement.listed {
                Some(_) => Dialect::V0(capabilities),
                None => Dialect::V2(capabilities),
            },
            format: advertisement.format,
            is_assumed: false,
        }
    }

    /// The upload-pack of a server that is known to speak v2 and to keep its objects in this format.
    pub(super) fn known(format: ObjectFormat) -> Self {
        // A request without a format is about SHA-1, for every server.
        let capabilities = match format {
            ObjectFormat::Sha1 => String::new(),
            ObjectFormat::Sha256 => format!("object-format={format}"),
        };
        UploadPackService {
            dialect: Dialect::V2(Capabilities::of_v2(capabilities)),
            format,
            is_assumed: true,
        }
    }

    /// Whether enough is known to make this request: a server that isn't told about a shallow boundary
    /// sends less than is missing.
    pub(super) fn suffices_for(&self, request: &PackRequest) -> bool {
        request.shallow.is_empty() || !self.is_assumed
    }
}

/// The receive-pack of a server, as it was advertised.
#[derive(Debug, Clone)]
pub(super) struct ReceivePackService {
    pub(super) capabilities: Capabilities,
    pub(super) format: ObjectFormat,
}

//! The upload-pack of a server, with the advertised capabilities that requests depend on.

use crate::{
    ObjectFormat, PackRequest,
    protocol::{advertisement::Advertisement, capabilities::Capabilities, fetch::Dialect},
};

/// The upload-pack of a server, as advertised or as assumed from a profile.
#[derive(Debug, Clone)]
pub(crate) struct UploadPackService {
    pub(crate) dialect: Dialect,
    pub(super) format: ObjectFormat,
    /// Whether it is assumed.
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

    /// The assumed upload-pack of a server that speaks v2 with this object format.
    pub(super) fn known(format: ObjectFormat) -> Self {
        // For every server, a request without a format means SHA-1.
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

    /// Whether the known capabilities suffice for this request. A request with a shallow boundary needs the advertised
    /// `shallow`: a server that is not told of the boundary sends too few objects.
    pub(super) fn suffices_for(&self, request: &PackRequest) -> bool {
        request.shallow.is_empty() || !self.is_assumed
    }
}

//! The two services of a server, as far as requests depend on what the server advertised.

use bstr::ByteSlice as _;

use crate::{
    ObjectFormat, PackRequest,
    protocol::{
        advertisement::Advertisement,
        fetch::{Dialect, Offers},
        receive_pack::Capabilities,
    },
};

/// The upload-pack of a server, as it was advertised or is assumed to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UploadPackService {
    pub(crate) dialect: Dialect,
    pub(super) format: ObjectFormat,
    /// Whether the server can be asked for a HEAD that names a branch that isn't there.
    pub(super) lists_unborn: bool,
    /// Whether the server did not advertise it.
    is_assumed: bool,
}

impl UploadPackService {
    pub(crate) fn new(advertisement: &Advertisement) -> Self {
        let offers = |name: &str| advertisement.offers(name);
        let ls_refs = advertisement
            .capabilities
            .value("ls-refs")
            .unwrap_or_default();
        let dialect = match advertisement.listed {
            Some(_) => Dialect::V0(Offers::of(offers)),
            None => {
                let fetch = advertisement
                    .capabilities
                    .value("fetch")
                    .unwrap_or_default();
                Dialect::V2 {
                    names_format: offers("object-format"),
                    shallow: fetch.split_str(" ").any(|word| word == b"shallow"),
                }
            }
        };
        UploadPackService {
            dialect,
            format: advertisement.format,
            lists_unborn: ls_refs.split_str(" ").any(|word| word == b"unborn"),
            is_assumed: false,
        }
    }

    /// The upload-pack of a server that is known to speak v2 and to keep its objects in this format.
    pub(super) fn known(format: ObjectFormat) -> Self {
        UploadPackService {
            dialect: Dialect::V2 {
                // A request without a format is about SHA-1, for every server.
                names_format: format != ObjectFormat::Sha1,
                shallow: false,
            },
            format,
            lists_unborn: false,
            is_assumed: true,
        }
    }

    /// Whether enough is known to make this request: a server that isn't told about a shallow boundary
    /// sends less than is missing.
    pub(super) fn suffices_for(&self, request: &PackRequest) -> bool {
        request.shallow.is_empty() || !self.is_assumed
    }

    /// Whether a request names the object format: a server from before SHA-256 doesn't know the word.
    pub(super) fn names_format(&self) -> bool {
        matches!(
            self.dialect,
            Dialect::V2 {
                names_format: true,
                ..
            }
        )
    }
}

/// The receive-pack of a server, as it was advertised.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReceivePackService {
    pub(super) capabilities: Capabilities,
    pub(super) format: ObjectFormat,
}

impl ReceivePackService {
    pub(super) fn new(advertisement: &Advertisement) -> Self {
        ReceivePackService {
            capabilities: Capabilities::of(|name| advertisement.offers(name)),
            format: advertisement.format,
        }
    }
}

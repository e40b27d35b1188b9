//! The fuzzed functions, and the properties that hold whatever the input is.
//!
//! Each function takes an input and panics where its property doesn't hold. cargo-fuzz calls them with
//! inputs that it makes up (see `fuzz/`), and the tests here with those that are kept.

mod bitmaps;
mod bytes;
mod deltas;
mod fsck;
mod history;
pub(crate) mod made_packs;
mod names;
mod objects;
mod packs;
mod vouched;

#[cfg(feature = "http")]
mod answers;
#[cfg(feature = "http")]
mod listings;
#[cfg(feature = "http")]
mod packets;
#[cfg(feature = "http")]
mod urls;

pub use bitmaps::bitmap;
pub use deltas::delta;
pub use fsck::fsck;
pub use history::ancestry;
pub use names::{globs, ref_names};
pub use packs::{outgoing_pack, pack, thin_pack};
pub use vouched::vouched_pack;

#[cfg(feature = "http")]
pub use answers::{fetch_response, report_status, side_band};
#[cfg(feature = "http")]
pub use listings::{ls_refs, v0_advertisement, v2_advertisement};
#[cfg(feature = "http")]
pub use urls::url;

#[cfg(test)]
mod tests;

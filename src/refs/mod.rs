//! Ref names, and the lists of refs that ends return.

mod list;
mod names;
pub(crate) mod table;

pub use list::RefList;
pub use names::Namespace;
pub(crate) use names::{fold, is_branch, is_valid_name, paths_of};
pub use table::AdvertisedRef;

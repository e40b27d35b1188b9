//! placeholder
mod error;
pub use error::{Error, ErrorKind};

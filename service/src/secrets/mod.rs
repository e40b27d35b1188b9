//! Secrets: credentials and webhook secrets are sealed before the database sees them, API keys are stored as a
//! digest, and of the keys that sign tokens only the public half is known.

pub mod api_key;
pub mod auth;
mod error;
pub mod hook;
pub mod jwt;
pub mod key_file;
mod master_key;
pub mod public_key;
mod random;
mod sealer;
pub mod webhook_secret;

pub use error::SecretError;
pub use master_key::MasterKey;
pub use random::random;
pub use sealer::{Place, Sealer};

//! Smart HTTP's lower half: policy, deadlines, credentials, cancellation and errors with a kind.
//!
//! [`HttpClient`] is what all requests go through. Everything that a hostile URL,
//! name server or Git server could try against the embedding process is decided here:
//!
//! - a [`RemoteUrl`] is `http(s)` and carries no credentials;
//! - the [`NetworkPolicy`] is asked about every address, right before it is connected to;
//! - one redirect of the first request is followed, to the same origin and if asked for;
//! - no proxy is taken from the environment;
//! - [`Credentials`] go to the origin that they were given for and nowhere else;
//! - every wait ends with the [`Timeouts`] or with the run.

mod background;
mod body;
mod call;
mod client;
mod connect;
mod credentials;
mod deadline;
mod failure;
mod link;
mod pace;
mod policy;
mod redirect;
mod response;
mod socket;
mod timeouts;
mod tls;
mod upload;
mod upload_body;
mod url;

pub(crate) use call::Call;
pub(crate) use client::{ClientOptions, HttpClient};
pub use credentials::Credentials;
pub use policy::{IpNetwork, NetworkPolicy};
pub use redirect::Redirects;
#[cfg(any(test, fuzzing))]
pub(crate) use redirect::moved_within_origin;
pub use timeouts::Timeouts;
pub(crate) use upload::Unanswered;
pub use url::{Origin, RemoteUrl};

#[cfg(test)]
mod tests;

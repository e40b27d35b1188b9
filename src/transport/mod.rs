//! HTTP: URLs, network policy, deadlines, credentials, cancellation and errors with a kind.
//!
//! All requests go through [`HttpClient`]. This module defends the embedding process against hostile URLs, name servers and
//! git servers:
//!
//! - a [`RemoteUrl`] is `http(s)` and contains no credentials;
//! - the [`NetworkPolicy`] is applied to every address, right before the connection;
//! - at most one redirect is followed, of the first request, to the same origin, and only if the caller allows it;
//! - proxies from the environment are ignored;
//! - [`Credentials`] are sent only to the origin that they were given for;
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

//! Git over HTTP, with real git as the client.

mod access;
mod bounds;
mod host;
mod pushes;

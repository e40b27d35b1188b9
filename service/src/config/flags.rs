//! [`Flags`], the command line and the environment.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, builder::BoolishValueParser};

use super::LogFormat;
use crate::store::AddressText;

/// The place of the data: all that the commands beside `serve` need.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// File with further settings, in TOML
    #[arg(long, value_name = "FILE", env = "REFSYNCD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder of the database, the keys and the repositories [default: ./refsyncd-data]
    #[arg(long, value_name = "DIR", env = "REFSYNCD_DATA")]
    pub data: Option<PathBuf>,
    /// Database, as sqlite:PATH or postgres://USER@HOST/NAME [default: refsyncd.db in the data folder]
    ///
    /// Other users of the machine see a command line: an address with a password belongs into the environment or the
    /// file.
    #[arg(
        long,
        value_name = "URL",
        env = "REFSYNCD_DATABASE",
        hide_env_values = true
    )]
    pub database: Option<AddressText>,
}

/// The configuration on the command line and in the environment. What is given here comes before the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// The place of the data.
    #[command(flatten)]
    pub place: Place,
    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "REFSYNCD_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Listen on any address: a proxy in front ends TLS
    #[arg(long, env = "REFSYNCD_BEHIND_PROXY", value_parser = BoolishValueParser::new())]
    pub behind_proxy: bool,
    /// Name of this node [default: local]
    #[arg(long, value_name = "NAME", env = "REFSYNCD_NODE")]
    pub node: Option<String>,
    /// Address under which clients reach the service [default: http://ADDR]
    #[arg(long, value_name = "URL", env = "REFSYNCD_PUBLIC_URL")]
    pub public_url: Option<String>,
    /// Runs at once; with 0 they stay queued [default: the number of cores]
    #[arg(long, value_name = "N", env = "REFSYNCD_WORKERS")]
    pub workers: Option<usize>,
    /// Time after which the run of a silent worker is taken by another one [default: 60]
    #[arg(long, value_name = "SECONDS", env = "REFSYNCD_LEASE")]
    pub lease: Option<u64>,
    /// Time that requests and runs have to end when the process stops [default: 10]
    #[arg(long, value_name = "SECONDS", env = "REFSYNCD_DRAIN")]
    pub drain: Option<u64>,
    /// Addresses of upstreams and targets: the public internet over https, or any [default: public]
    #[arg(long, value_name = "POLICY", env = "REFSYNCD_NETWORK")]
    pub network: Option<Network>,
    /// Serve no git over HTTP
    #[arg(long, env = "REFSYNCD_NO_GIT_HTTP", value_parser = BoolishValueParser::new())]
    pub no_git_http: bool,
    /// Deliver no events to webhook targets
    #[arg(long, env = "REFSYNCD_NO_DELIVERIES", value_parser = BoolishValueParser::new())]
    pub no_deliveries: bool,
    /// Form of the log on standard error [default: text]
    #[arg(long, value_name = "FORMAT", env = "REFSYNCD_LOG")]
    pub log: Option<LogFormat>,
}

/// The choice of a network policy by one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The public internet, over https.
    Public,
    /// Any address, also over http.
    Any,
}

//! The two ends, from the command line and the environment.

use std::env;

use clap::ValueEnum;
use refsync::{Credentials, Error, ErrorKind, LocalStore, NetworkPolicy, RefSource, SmartHttp};

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Network {
    /// Only https to public addresses
    Public,
    /// Also private networks, this machine and plain http
    Any,
}

pub(crate) fn open(end: &str, network: Network) -> Result<Box<dyn RefSource>, Error> {
    if !end.contains("://") {
        return Ok(Box::new(LocalStore::open(end)?));
    }
    let policy = match network {
        Network::Public => NetworkPolicy::public(),
        Network::Any => NetworkPolicy::any(),
    };
    let remote = SmartHttp::new(end)?.with_network_policy(policy);
    Ok(Box::new(match credentials()? {
        Some(credentials) => remote.with_credentials(credentials),
        None => remote,
    }))
}

fn credentials() -> Result<Option<Credentials>, Error> {
    let username = variable("REFSYNC_USERNAME")?;
    let secrets = (variable("REFSYNC_TOKEN")?, variable("REFSYNC_PASSWORD")?);
    match (secrets, username) {
        ((None, None), None) => Ok(None),
        ((Some(token), None), None) => Ok(Some(Credentials::token(token))),
        ((Some(token), None), Some(name)) => {
            Ok(Some(Credentials::token(token).with_username(name)))
        }
        ((None, Some(password)), Some(name)) => {
            Ok(Some(Credentials::username_password(name, password)))
        }
        ((None, Some(_)), None) => Err(invalid("REFSYNC_PASSWORD needs REFSYNC_USERNAME")),
        ((None, None), Some(_)) => Err(invalid(
            "REFSYNC_USERNAME needs REFSYNC_TOKEN or REFSYNC_PASSWORD",
        )),
        ((Some(_), Some(_)), _) => Err(invalid(
            "REFSYNC_TOKEN and REFSYNC_PASSWORD exclude each other",
        )),
    }
}

fn variable(name: &str) -> Result<Option<String>, Error> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        // The original error would print the value.
        Err(env::VarError::NotUnicode(_)) => Err(invalid(&format!("{name} is not valid UTF-8"))),
    }
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOptions, text)
}

//! The commands beside `serve`: organizations, keys, names of nodes, and new master keys.

use zeroize::Zeroizing;

use crate::{
    Error, ErrorKind, clock,
    config::Config,
    data_folder::{self, DataFolder},
    ids,
    records::{Key, KeyId, Name, Org, Scope},
    secrets::{MasterKey, SecretError, api_key, key_file},
    store::{NewKey, Proof, Released, SILENT, Store},
};

/// Makes an organization in the database of `config` and returns its first key, which has all scopes.
///
/// # Errors
/// The name is taken, or the database can't be used.
pub async fn org_create(config: &Config, slug: &Name) -> Result<String, Error> {
    let store = open(config).await?;
    let key = create_org(&store, slug).await;
    store.close().await;
    key?.ok_or_else(|| {
        let text = format!("there is an organization {slug} already");
        Error::new(ErrorKind::Config, text)
    })
}

/// Makes a key of the organization `org`, and returns its record and the key.
///
/// # Errors
/// There is no such organization, or the database can't be used.
pub async fn key_create(
    config: &Config,
    org: &str,
    name: Option<String>,
    scopes: Vec<Scope>,
) -> Result<(Key, String), Error> {
    let store = open(config).await?;
    let key = async { create_key(&store, &org_of(&store, org).await?, name, scopes).await };
    let key = key.await;
    store.close().await;
    key
}

/// Removes a key of the organization `org`.
///
/// # Errors
/// There is no such organization or key, or the database can't be used.
pub async fn key_revoke(config: &Config, org: &str, id: &KeyId) -> Result<(), Error> {
    let store = open(config).await?;
    let done = async {
        let org = org_of(&store, org).await?;
        if store.delete_key(&org.id, id, clock::now()).await? {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            format!("{} has no key {id}", org.slug),
        ))
    };
    let done = done.await;
    store.close().await;
    done
}

/// Gives the name of a node whose data folder is lost to the next process that asks for it.
///
/// # Errors
/// There is no such node, it lives, or the database can't be used.
pub async fn node_release(config: &Config, name: &str) -> Result<(), Error> {
    let store = open(config).await?;
    let released = store.release_node(name, clock::now()).await;
    store.close().await;
    let refused = |kind, text| Err(Error::new(kind, text));
    match released? {
        Released::Done => Ok(()),
        Released::Unknown => refused(ErrorKind::Config, format!("there is no node {name}")),
        Released::Lives => refused(
            ErrorKind::InUse,
            format!(
                "the node {name} was heard in the last {} seconds: stop it first",
                SILENT.as_secs()
            ),
        ),
    }
}

/// Replaces the master key: all secrets are sealed anew with a new one, and the old ones are forgotten. A process
/// that dies in between leaves both, and the command can be repeated.
///
/// # Errors
/// The folder is in use, or a secret can't be opened; then the old keys stay.
pub async fn rekey(config: &Config) -> Result<u64, Error> {
    let folder = DataFolder::alone(&config.data)?;
    let mut keys = folder.master_keys(false)?;
    let store = open(config).await?;
    keys.insert(0, MasterKey::generate().map_err(key_failed)?);
    key_file::replace(&folder.key_file(), &keys).map_err(key_failed)?;
    let sealer = data_folder::sealer(&keys)?;
    let resealed = store.reseal(&sealer).await;
    store.close().await;
    let resealed = resealed?;
    keys.truncate(1);
    key_file::replace(&folder.key_file(), &keys).map_err(key_failed)?;
    Ok(resealed)
}

/// Makes an organization and returns its first key, which has all scopes; `None` if there is one with this name.
pub(crate) async fn create_org(store: &Store, slug: &Name) -> Result<Option<String>, Error> {
    let org = store.create_org(slug, slug.as_str(), clock::now()).await?;
    let Some(org) = org else { return Ok(None) };
    let (_, key) = create_key(store, &org, Some("admin".into()), vec![Scope::Admin]).await?;
    Ok(Some(key))
}

async fn create_key(
    store: &Store,
    org: &Org,
    name: Option<String>,
    scopes: Vec<Scope>,
) -> Result<(Key, String), Error> {
    let secret: Zeroizing<String> = api_key::generate().map_err(key_failed)?;
    let new = NewKey {
        id: ids::new(),
        name,
        proof: Proof::Hash(api_key::hash(&secret)),
        scopes,
        repo_ids: None,
        expires_at: None,
    };
    let key = store.create_key(&org.id, new, clock::now()).await?;
    let key = key.ok_or_else(|| Error::new(ErrorKind::Database, "a new key was not stored"))?;
    Ok((key, secret.to_string()))
}

/// The existing database, also of a data folder that is served.
async fn open(config: &Config) -> Result<Store, Error> {
    existing(config)?;
    let store = Store::open(&config.database).await?;
    Ok(store.by("command line"))
}

/// Refuses to make a database: a command is about one that is there.
pub(crate) fn existing(config: &Config) -> Result<(), Error> {
    let Some(file) = config.database.file() else {
        return Ok(());
    };
    DataFolder::shared(&config.data)?;
    if file.exists() {
        return Ok(());
    }
    let text = format!("there is no database {}", file.display());
    Err(Error::new(ErrorKind::Io, text))
}

async fn org_of(store: &Store, slug: &str) -> Result<Org, Error> {
    let missing = || {
        Error::new(
            ErrorKind::Config,
            format!("there is no organization {slug}"),
        )
    };
    store.org_by_slug(slug).await?.ok_or_else(missing)
}

fn key_failed(err: SecretError) -> Error {
    Error::new(ErrorKind::Key, "the key can't be made or written").because(err)
}

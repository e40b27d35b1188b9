//! [`Place`], the databases of a section: files, or those of a server of PostgreSQL that the bench starts. They are on
//! the disk of the target folder, and what is committed is on the disk.

use std::{fs, path::Path};

use refsync_service::store::DatabaseAddress;

use super::{figures::folder, postgres::Server};

pub struct Place {
    folder: tempfile::TempDir,
    server: Option<Server>,
}

impl Place {
    pub fn sqlite() -> Self {
        Place {
            folder: folder(),
            server: None,
        }
    }

    /// A server with the settings of its package; `None` where none is installed.
    pub fn postgres() -> Option<Self> {
        let server = Server::start_in(Path::new(env!("CARGO_TARGET_TMPDIR")), "on")?;
        Some(Place {
            folder: folder(),
            server: Some(server),
        })
    }

    /// One of each database that is there.
    pub fn all() -> impl Iterator<Item = Self> {
        let sqlite = std::iter::once_with(|| Some(Place::sqlite()));
        sqlite
            .chain(std::iter::once_with(Place::postgres))
            .flatten()
    }

    pub fn name(&self) -> &'static str {
        if self.server.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        }
    }

    /// A new folder for what belongs to a database.
    pub fn folder(&self, name: &str) -> std::path::PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// The address of an empty database.
    pub fn database(&self, name: &str) -> String {
        if let Some(server) = &self.server {
            return server.database(name);
        }
        format!("sqlite:{}", self.folder(name).join("refsyncd.db").display())
    }
}

pub fn address(text: &str) -> DatabaseAddress {
    text.parse().expect("the address of a database")
}

//! [`Globs`], the globs of a run as its record has them.

use refsync::RefGlobs;
use serde::{Deserialize, Serialize};

/// The globs of a run. An empty glob matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Globs {
    /// The glob of the branches.
    pub branches: String,
    /// The glob of the tags.
    pub tags: String,
}

impl Default for Globs {
    /// All branches and tags.
    fn default() -> Self {
        Globs {
            branches: "*".into(),
            tags: "*".into(),
        }
    }
}

/// The longest glob in bytes: both are part of a key that PostgreSQL bounds at 2,704 bytes.
const MAX_GLOB: usize = 1_000;

impl Globs {
    /// The globs of a request that has at least one of them; one that is left out matches nothing.
    ///
    /// # Errors
    /// Both are left out, or one is no glob or has more than 1,000 bytes.
    pub fn of_request(branches: Option<String>, tags: Option<String>) -> Result<Self, String> {
        if branches.is_none() && tags.is_none() {
            return Err("ref_globs has at least one of branches and tags".into());
        }
        let globs = Globs {
            branches: branches.unwrap_or_default(),
            tags: tags.unwrap_or_default(),
        };
        if globs.branches.len().max(globs.tags.len()) > MAX_GLOB {
            return Err("a glob has at most 1,000 bytes".into());
        }
        globs.compiled().map_err(|err| err.to_string())?;
        Ok(globs)
    }

    /// The globs as the engine takes them.
    pub fn compiled(&self) -> Result<RefGlobs, refsync::Error> {
        RefGlobs::new(Some(&self.branches), Some(&self.tags))
    }
}

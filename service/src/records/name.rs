//! [`Name`], the name of a repository or an organization in a path.

use serde::Serialize;

/// A name that can stand in a path: `^[A-Za-z0-9._-]{1,100}$`, neither `.` nor `..`, without the end `.git`, and
/// none of the words that are routes of their own. Names are compared without case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Name(String);

/// The reason why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidName {
    /// The name is empty or has more than 100 characters.
    Length,
    /// The name has a character other than letters, digits, `.`, `_` and `-`.
    Character,
    /// The name is `.` or `..`, or ends with `.git`.
    Dots,
    /// The name is a route of the API.
    Reserved,
}

impl std::fmt::Display for InvalidName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            InvalidName::Length => "a name has 1 to 100 characters",
            InvalidName::Character => "a name has only letters, digits, '.', '_' and '-'",
            InvalidName::Dots => "a name is not '.' or '..' and does not end with '.git'",
            InvalidName::Reserved => "this name is a word of the API",
        })
    }
}

impl std::error::Error for InvalidName {}

/// The segments of routes that stand where an organization or a repository would.
const RESERVED: [&str; 11] = [
    "repos",
    "api-keys",
    "webhook-targets",
    "whoami",
    "hooks",
    "openapi.json",
    "healthz",
    "readyz",
    "metrics",
    "v1",
    "orgs",
];

impl Name {
    /// The name, if it is one.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        if text.is_empty() || text.chars().count() > 100 {
            return Err(InvalidName::Length);
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        {
            return Err(InvalidName::Character);
        }
        let folded = text.to_ascii_lowercase();
        if folded == "." || folded == ".." || folded.ends_with(".git") {
            return Err(InvalidName::Dots);
        }
        if RESERVED.contains(&folded.as_str()) {
            return Err(InvalidName::Reserved);
        }
        Ok(Name(text))
    }

    /// The name as its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that is equal for names that differ in case alone.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_stand_in_a_path() {
        for good in ["a", "App-1_x.y", ".hidden", "git", "a.git.b"] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(101);
        for (bad, reason) in [
            ("", InvalidName::Length),
            (long.as_str(), InvalidName::Length),
            ("a/b", InvalidName::Character),
            ("ä", InvalidName::Character),
            ("a\0", InvalidName::Character),
            (".", InvalidName::Dots),
            ("..", InvalidName::Dots),
            ("App.GIT", InvalidName::Dots),
            ("Repos", InvalidName::Reserved),
        ] {
            assert_eq!(Name::new(bad), Err(reason), "{bad}");
        }
    }
}

//! [`Scrub`], which keeps a run's own credential out of the texts of its server.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use refsync::{Outcome, SyncRunStats};
use zeroize::Zeroizing;

use crate::records::Auth;

/// The text in place of a credential.
const INSTEAD: &str = "[credential]";
/// Shorter names and secrets are words of many texts, and not worth a search.
const SHORTEST: usize = 4;
/// The beginning of a credential that is enough to be one: texts are cut.
const BEGINNING: usize = 12;
/// The user names that stand in every manual.
const PUBLIC_NAMES: [&str; 4] = ["x-access-token", "oauth2", "x-token-auth", "git"];

/// The forms in which a server may repeat the credential of a run: plain, in base64 as in the header, percent-encoded
/// as in an address. They are wiped when this is dropped.
#[derive(Default)]
pub(crate) struct Scrub {
    secret: Forms,
    /// Names are words, so they are kept out of texts for people alone.
    name: Forms,
}

/// The longest first, so that one that begins another comes after it.
#[derive(Default)]
struct Forms(Vec<Zeroizing<String>>);

impl Scrub {
    /// The forms of a credential.
    pub(super) fn of(auth: &Auth) -> Self {
        let (name, secret) = match auth {
            Auth::Token {
                token,
                token_username,
            } => (token_username.as_deref(), token),
            Auth::UsernamePassword { username, password } => (Some(username.as_str()), password),
        };
        let name = name.unwrap_or("x-access-token");
        let both = Zeroizing::new(format!("{name}:{}", secret.as_str()));
        let mut secrets = plain(secret);
        for text in [both.as_str(), secret.as_str()] {
            secrets.push(STANDARD_NO_PAD.encode(text));
            secrets.push(URL_SAFE_NO_PAD.encode(text));
        }
        Scrub {
            secret: Forms::of(secrets),
            name: Forms::of(plain(name)),
        }
    }

    /// Whether a text has the secret in any form.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.secret
            .0
            .iter()
            .any(|form| text.contains(beginning(form)))
    }

    /// A text for people without the credential.
    pub(super) fn text(&self, text: String) -> String {
        self.name.taken_from(self.secret.taken_from(text))
    }

    /// The stats without the credential. What they say of each ref is kept.
    pub(super) fn stats(&self, mut stats: SyncRunStats) -> SyncRunStats {
        for line in &mut stats.remote_messages {
            *line = self.text(std::mem::take(line));
        }
        if !self.is_in_reasons(&stats) {
            return stats;
        }
        // A text of JSON has the credential in the same form unless it has characters that JSON escapes; such a
        // text is not kept at all.
        let json = serde_json::to_string(&stats).map(|json| self.secret.taken_from(json));
        let clean = json.and_then(|json| serde_json::from_str::<SyncRunStats>(&json));
        match clean {
            Ok(clean) if !self.is_in_reasons(&clean) => clean,
            _ => SyncRunStats::default(),
        }
    }

    fn is_in_reasons(&self, stats: &SyncRunStats) -> bool {
        let mut rejected = stats.with_outcome(Outcome::is_rejected);
        rejected.any(|r| self.is_in(&r.outcome.to_string()))
    }
}

impl Forms {
    fn of(mut forms: Vec<String>) -> Self {
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Forms(forms.into_iter().map(Zeroizing::new).collect())
    }

    fn taken_from(&self, text: String) -> String {
        self.0.iter().fold(text, |text, form| without(text, form))
    }
}

/// A text as it is and as it stands in an address, unless it is a word of many texts.
fn plain(text: &str) -> Vec<String> {
    if text.len() < SHORTEST || PUBLIC_NAMES.contains(&text) {
        return Vec::new();
    }
    vec![text.to_owned(), percent_encoded(text)]
}

fn beginning(form: &str) -> &str {
    let end = form.char_indices().nth(BEGINNING).map(|(at, _)| at);
    &form[..end.unwrap_or(form.len())]
}

fn without(text: String, form: &str) -> String {
    let beginning = beginning(form);
    let mut clean = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(beginning) {
        clean.push_str(&rest[..at]);
        clean.push_str(INSTEAD);
        let found = &rest[at..];
        let same = found.chars().zip(form.chars()).take_while(|(a, b)| a == b);
        rest = &found[same.map(|(c, _)| c.len_utf8()).sum()..];
    }
    if clean.is_empty() {
        return text;
    }
    clean.push_str(rest);
    clean
}

/// RFC 3986 section 2.1: all but the unreserved characters are encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(username: &str, password: &str) -> Scrub {
        Scrub::of(&Auth::UsernamePassword {
            username: username.into(),
            password: password.into(),
        })
    }

    #[test]
    fn every_form_of_a_credential() {
        let scrub = password("someone", "can/ary-3f9c1d77e2");
        for (text, clean) in [
            ("nothing", "nothing"),
            ("can/ary-3f9c1d77e2", "[credential]"),
            (
                "a can/ary-3f9c1d77e2, can/ary-3f9c1d77e2!",
                "a [credential], [credential]!",
            ),
            ("someone:can/ary-3f9c1d77e2", "[credential]:[credential]"),
            (
                "https://someone:can%2Fary-3f9c1d77e2@a/b",
                "https://[credential]:[credential]@a/b",
            ),
            (
                "Basic c29tZW9uZTpjYW4vYXJ5LTNmOWMxZDc3ZTI=",
                "Basic [credential]=",
            ),
            // Cut by somebody before.
            ("Basic c29tZW9uZTpjYW4v", "Basic [credential]"),
            ("token can/ary-3f9c1", "token [credential]"),
            ("can/ary", "can/ary"),
        ] {
            assert_eq!(scrub.text(text.to_owned()), clean);
            let has_secret = text != clean;
            assert_eq!(scrub.is_in(text), has_secret, "{text}");
        }
    }

    #[test]
    fn words_of_all_texts_stay() {
        let token = Scrub::of(&Auth::Token {
            token: "ghp_0123456789abcdef".into(),
            token_username: None,
        });
        let text = "git: x-access-token may not push";
        assert_eq!(token.text(text.to_owned()), text);
        assert_eq!(token.text("ghp_0123456789abcdef".into()), "[credential]");
        assert_eq!(password("git", "abc").text(text.to_owned()), text);
        assert_eq!(Scrub::default().text(text.to_owned()), text);
    }
}

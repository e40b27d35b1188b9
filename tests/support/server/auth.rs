//! Basic authentication.

use super::http::RequestHead;

pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    pub(super) fn admit(&self, head: &RequestHead) -> bool {
        let expected = base64(format!("{}:{}", self.user, self.password).as_bytes());
        let sent = head
            .header("authorization")
            .and_then(|value| value.split_once(' '));
        sent.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("basic") && token.trim() == expected
        })
    }
}

/// Written out, because the crate of this name comes with the feature `http` only.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, i| {
            bits << 8 | usize::from(*three.get(i).unwrap_or(&0))
        });
        let digit = |i: usize| match i <= three.len() {
            true => char::from(ALPHABET[bits >> (18 - 6 * i) & 63]),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

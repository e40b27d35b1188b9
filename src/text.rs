//! Text that somebody else wrote, made safe to print.

use std::fmt::{self, Write as _};

use bstr::{BStr, ByteSlice as _};

/// Whether a terminal may obey this character, or show the text around it as another one: control
/// characters (C0 and C1), those that change the direction of text, and invisible ones.
pub(crate) fn is_unsafe(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    );
    c.is_control() || is_invisible
}

/// The number of characters of a text that go into the reasons of all refs that it is about.
const MAX_REPEATED: usize = 128;

/// The start of a text that becomes the reason of each of many refs: there may be a million of them.
pub(crate) fn repeatable(text: &str) -> String {
    text.chars().take(MAX_REPEATED).collect()
}

/// Shows unsafe characters as their codes, such as `\u{202e}`, and bytes that are no UTF-8 as
/// [`BStr`] does.
pub(crate) struct Escaped<'a>(pub(crate) &'a BStr);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        chars.try_for_each(|c| {
            if is_unsafe(c) {
                write!(f, "{}", c.escape_unicode())
            } else {
                f.write_char(c)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_play_tricks_on_a_terminal_is_shown_as_its_code() {
        for (text, expected) in [
            (&b"refs/heads/main"[..], "refs/heads/main"),
            ("refs/heads/größe".as_bytes(), "refs/heads/größe"),
            (b"a\x1b[2J\x07b", "a\\u{1b}[2J\\u{7}b"),
            ("a\u{9b}2Jb".as_bytes(), "a\\u{9b}2Jb"),
            ("cod\u{202e}exe.".as_bytes(), "cod\\u{202e}exe."),
            (
                "a\u{61c}\u{2066}\u{200b}b".as_bytes(),
                "a\\u{61c}\\u{2066}\\u{200b}b",
            ),
            (b"a\xffb", "a\u{fffd}b"),
        ] {
            assert_eq!(Escaped(text.into()).to_string(), expected);
        }
    }
}

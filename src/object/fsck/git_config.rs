//! Git's configuration grammar, parsed as by `git_parse_source()` of git's `config.c`: the callback receives each variable
//! as it is read, also those before a malformed line. A parser that takes a file as a whole or not at all would miss
//! them.

/// The error that the rest of a file cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A section or a variable of a file.
pub(super) enum Event<'a> {
    /// A section by its name in lowercase, a dot, and its subsection as it is, without a dot where
    /// there is none.
    Section(&'a [u8]),
    /// A variable by its name in lowercase, and its value, if there is an equals sign. As in C the
    /// value ends at its first NUL byte.
    Variable(&'a [u8], Option<&'a [u8]>),
}

/// Calls `heard` for each section and variable of `text`.
pub(super) fn parse(text: &[u8], mut heard: impl FnMut(Event<'_>)) -> Result<(), Malformed> {
    let mut source = Source {
        rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
        at_end: false,
    };
    loop {
        match source.next() {
            b'\n' if source.at_end => return Ok(()),
            b'#' | b';' => source.skip_line(),
            b'[' => heard(Event::Section(&source.section()?)),
            byte if is_space(byte) => {}
            byte if byte.is_ascii_alphabetic() => {
                let mut name = vec![byte.to_ascii_lowercase()];
                let value = source.variable(&mut name)?;
                heard(Event::Variable(&name, value.as_deref().map(up_to_nul)));
            }
            _ => return Err(Malformed),
        }
    }
}

struct Source<'a> {
    rest: &'a [u8],
    at_end: bool,
}

impl Source<'_> {
    /// The next byte. At the end that is a line feed.
    fn next(&mut self) -> u8 {
        let (byte, rest) = match self.rest {
            [b'\r', b'\n', rest @ ..] => (b'\n', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => {
                self.at_end = true;
                return b'\n';
            }
        };
        self.rest = rest;
        byte
    }

    fn skip_line(&mut self) {
        // The end of the file is left to the caller.
        while self.rest.first().is_some_and(|byte| *byte != b'\n') {
            self.rest = &self.rest[1..];
        }
    }

    /// Reads the name of a section, between its brackets.
    fn section(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                _ if self.at_end => return Err(Malformed),
                b']' if name.is_empty() => return Err(Malformed),
                b']' => return Ok(name),
                byte if is_space(byte) => {
                    self.subsection(byte, &mut name)?;
                    return Ok(name);
                }
                byte if is_key(byte) || byte == b'.' => name.push(byte.to_ascii_lowercase()),
                _ => return Err(Malformed),
            }
        }
    }

    /// The quoted part of a section's name, after the first space.
    fn subsection(&mut self, mut byte: u8, name: &mut Vec<u8>) -> Result<(), Malformed> {
        while is_space(byte) {
            if byte == b'\n' {
                return Err(Malformed);
            }
            byte = self.next();
        }
        if byte != b'"' {
            return Err(Malformed);
        }
        name.push(b'.');
        loop {
            let byte = match self.next() {
                b'"' => break,
                b'\\' => self.next(),
                byte => byte,
            };
            if byte == b'\n' {
                return Err(Malformed);
            }
            name.push(byte);
        }
        match self.next() {
            b']' => Ok(()),
            _ => Err(Malformed),
        }
    }

    /// The rest of a variable's name, and its value.
    fn variable(&mut self, name: &mut Vec<u8>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut byte = self.next();
        while is_key(byte) {
            name.push(byte.to_ascii_lowercase());
            byte = self.next();
        }
        while matches!(byte, b' ' | b'\t') {
            byte = self.next();
        }
        match byte {
            b'\n' => Ok(None),
            b'=' => self.value().map(Some),
            _ => Err(Malformed),
        }
    }

    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut value = Vec::new();
        let mut is_quoted = false;
        // The length of the value without trailing spaces.
        let mut trimmed = 0;
        loop {
            let byte = self.next();
            if byte == b'\n' {
                if is_quoted {
                    return Err(Malformed);
                }
                if trimmed > 0 {
                    value.truncate(trimmed);
                }
                return Ok(value);
            }
            if !is_quoted && is_space(byte) {
                if trimmed == 0 {
                    trimmed = value.len();
                }
                if !value.is_empty() {
                    value.push(byte);
                }
                continue;
            }
            if !is_quoted && matches!(byte, b';' | b'#') {
                self.skip_line();
                continue;
            }
            trimmed = 0;
            match byte {
                b'"' => is_quoted = !is_quoted,
                b'\\' => match self.next() {
                    b'\n' => {}
                    b't' => value.push(b'\t'),
                    b'b' => value.push(8),
                    b'n' => value.push(b'\n'),
                    byte @ (b'\\' | b'"') => value.push(byte),
                    _ => return Err(Malformed),
                },
                byte => value.push(byte),
            }
        }
    }
}

pub(super) fn up_to_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// `isspace()` of git, not of C: no vertical tab and no form feed.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

//! The head of a CGI answer (RFC 3875 section 6).

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The status and the headers of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// The program did not answer as CGI programs do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoHead;

/// The most bytes of a head.
const MOST_BYTES: usize = 16 << 10;

/// The head of `bytes` and its length; `None` while it is not complete.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, NoHead> {
    let mut head = Head {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
    };
    let mut at = 0;
    loop {
        let Some(length) = bytes[at..].iter().position(|b| *b == b'\n') else {
            return if bytes.len() > MOST_BYTES {
                Err(NoHead)
            } else {
                Ok(None)
            };
        };
        let line = bytes[at..at + length].trim_ascii_end();
        at += length + 1;
        if line.is_empty() {
            return Ok(Some((head, at)));
        }
        field(line, &mut head).ok_or(NoHead)?;
    }
}

fn field(line: &[u8], head: &mut Head) -> Option<()> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"status") {
        head.status = StatusCode::from_bytes(value.get(..3)?).ok()?;
        return Some(());
    }
    let name = HeaderName::from_bytes(name).ok()?;
    head.headers
        .append(name, HeaderValue::from_bytes(value).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let text = b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nbody";
        for length in 0..text.len() - 4 {
            assert_eq!(head(&text[..length]), Ok(None), "{length}");
        }
        let (found, length) = head(text).expect("a head").expect("a whole one");
        assert_eq!(found.status, StatusCode::NOT_FOUND);
        assert_eq!(found.headers["content-type"], "text/plain");
        assert_eq!(&text[length..], b"body");
        assert_eq!(head(b"no head\n"), Err(NoHead));
        assert_eq!(head(b"Status: x\n\n"), Err(NoHead));
        assert_eq!(head(&[b'x'; 20_000]), Err(NoHead));
    }
}

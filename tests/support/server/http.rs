//! HTTP/1.1 requests, as far as git clients go.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// A request as it came, its body already read and out of its chunks.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Its place in `GitServer::requests()`.
    pub number: usize,
}

impl RequestHead {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The command of a protocol v2 request: `ls-refs` or `fetch`.
    pub fn command(&self) -> Option<String> {
        let body = self.plain_body();
        let length = usize::from_str_radix(str::from_utf8(body.get(..4)?).ok()?, 16).ok()?;
        let line = str::from_utf8(body.get(4..length)?).ok()?;
        Some(line.strip_prefix("command=")?.trim_end().to_owned())
    }

    /// Git clients compress bodies over a kilobyte.
    pub fn plain_body(&self) -> Cow<'_, [u8]> {
        match self.header("content-encoding") {
            Some("gzip") => Cow::Owned(gunzip(&self.body)),
            _ => Cow::Borrowed(&self.body),
        }
    }

    pub(super) fn is_last(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// The next request of a connection; `None` once the client has closed it.
pub(super) fn read_request(
    stream: &mut BufReader<impl Read + Write>,
) -> io::Result<Option<RequestHead>> {
    let Some(line) = read_line(stream)? else {
        return Ok(None);
    };
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(malformed("request line"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = read_headers(stream)?;
    if find(&headers, "expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        stream.get_mut().flush()?;
    }
    let body = read_body(stream, &headers)?;
    Ok(Some(RequestHead {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        number: 0,
    }))
}

/// Up to the empty line; the same form heads a CGI response.
pub(super) fn read_headers(stream: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

pub(super) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value)
}

pub(super) fn read_body(
    stream: &mut impl BufRead,
    headers: &[(String, String)],
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if find(headers, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        while let size @ 1.. = read_chunk_size(stream)? {
            read_exactly(stream, size, &mut body)?;
            read_line(stream)?;
        }
        read_headers(stream)?;
    } else if let Some(length) = find(headers, "content-length") {
        let length = length.parse().map_err(|_| malformed("content length"))?;
        read_exactly(stream, length, &mut body)?;
    }
    Ok(body)
}

fn read_chunk_size(stream: &mut impl BufRead) -> io::Result<u64> {
    let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    u64::from_str_radix(size, 16).map_err(|_| malformed("chunk size"))
}

fn read_exactly(stream: &mut impl Read, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(length).read_to_end(body)?;
    if (read as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn read_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|_| malformed("line"))?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// By the program, so that recording what git sends costs no dependency.
fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["--decompress", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut stdin = gzip.stdin.take().expect("a piped stdin");
    thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).ok());
        gzip.wait_with_output().expect("gzip ends").stdout
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {what}"))
}

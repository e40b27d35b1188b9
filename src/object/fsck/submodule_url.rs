//! `check_submodule_url()` of git's `submodule-config.c`: URLs that made git's credential helpers
//! answer for another host (CVE-2020-5260, CVE-2020-11008), or look like an option of a command.

use std::num::NonZeroU16;

use bstr::ByteSlice;

pub(super) fn is_allowed(url: &[u8]) -> bool {
    if url.starts_with(b"-") {
        return false;
    }
    if strip_dots(url, 1).or_else(|| strip_dots(url, 2)).is_some() || url.starts_with(b"git://") {
        return !decodes_to_line_feed(url) && !leaves_the_host(url);
    }
    match url_for_curl(url) {
        Some(url) => normalize(url).is_some_and(|url| !decodes_to_line_feed(&url)),
        None => true,
    }
}

/// The rest of a URL behind `./` or `../`, with either slash.
fn strip_dots(url: &[u8], dots: usize) -> Option<&[u8]> {
    let (start, rest) = url.split_at_checked(dots + 1)?;
    let (slash, dots) = start.split_last()?;
    (matches!(slash, b'/' | b'\\') && dots.iter().all(|byte| *byte == b'.')).then_some(rest)
}

/// Whether a relative URL climbs into the part of its base that names the host.
fn leaves_the_host(mut url: &[u8]) -> bool {
    let mut climbed = false;
    loop {
        if let Some(rest) = strip_dots(url, 2) {
            (url, climbed) = (rest, true);
        } else if let Some(rest) = strip_dots(url, 1) {
            url = rest;
        } else {
            return climbed && matches!(url, [b':' | b'/', ..]);
        }
    }
}

/// `url_decode()` of git's `url.c`, asked for a line feed. The scheme isn't decoded.
fn decodes_to_line_feed(url: &[u8]) -> bool {
    let colon = url.iter().position(|byte| *byte == b':').unwrap_or(0);
    url.contains(&b'\n')
        || url[colon..]
            .windows(3)
            .any(|escape| matches!(escape, b"%0a" | b"%0A"))
}

/// `url_to_curl_url()`: what the HTTP client would be asked for, if it is.
fn url_for_curl(url: &[u8]) -> Option<&[u8]> {
    let helpers: [&[u8]; 4] = [b"http::", b"https::", b"ftp::", b"ftps::"];
    if let Some(url) = helpers.iter().find_map(|helper| url.strip_prefix(*helper)) {
        return Some(url);
    }
    let schemes: [&[u8]; 4] = [b"http://", b"https://", b"ftp://", b"ftps://"];
    schemes
        .iter()
        .any(|scheme| url.starts_with(scheme))
        .then_some(url)
}

/// `url_normalize()` of git's `urlmatch.c`; none for what isn't a URL.
fn normalize(url: &[u8]) -> Option<Vec<u8>> {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'.' | b'-');
    let scheme_end = url.iter().position(|byte| !is_scheme(byte))?;
    let rest = url[scheme_end..].strip_prefix(b"://")?;
    if !url[0].is_ascii_alphabetic() {
        return None;
    }
    let mut normal = url[..scheme_end].to_ascii_lowercase();
    let is_file = normal == b"file";
    normal.extend(b"://");

    let (authority, rest) = rest.split_at(segment_len(rest));
    let host_and_port = match authority.iter().position(|byte| *byte == b'@') {
        Some(at) => {
            append(&mut normal, &authority[..at])?;
            normal.push(b'@');
            &authority[at + 1..]
        }
        None => authority,
    };
    append_host(&mut normal, host_and_port, is_file)?;
    append_path(&mut normal, rest)?;
    Some(normal)
}

fn segment_len(url: &[u8]) -> usize {
    url.find_byteset(b"/?#").unwrap_or(url.len())
}

fn append_host(normal: &mut Vec<u8>, host_and_port: &[u8], is_file: bool) -> Option<()> {
    let has_host = !matches!(host_and_port, [] | [b':', ..]);
    if !has_host && !is_file {
        return None;
    }
    let colon = host_and_port
        .iter()
        .rposition(|byte| matches!(byte, b':' | b']'));
    let (host, port) = match colon {
        Some(colon) if host_and_port[colon] == b':' => {
            (&host_and_port[..colon], Some(&host_and_port[colon + 1..]))
        }
        _ => (host_and_port, None),
    };
    if !has_host && port.is_some_and(|port| !port.is_empty()) {
        return None;
    }
    let is_host = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b':' | b']')
    };
    if !host.iter().all(is_host) {
        return None;
    }
    normal.extend(host.to_ascii_lowercase());
    let Some(port) = port.filter(|port| !port.is_empty()) else {
        return Some(());
    };
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port: NonZeroU16 = str::from_utf8(port).ok()?.parse().ok()?;
    normal.extend(format!(":{port}").bytes());
    Some(())
}

/// The path without its dots, and what follows it.
fn append_path(normal: &mut Vec<u8>, path: &[u8]) -> Option<()> {
    let start = normal.len();
    normal.push(b'/');
    let mut rest = path.strip_prefix(b"/").unwrap_or(path);
    loop {
        let segment_start = normal.len();
        let (segment, after) = rest.split_at(segment_len(rest));
        append(normal, segment)?;
        let mut needs_slash = true;
        match &normal[segment_start..] {
            b"." => {
                normal.truncate(segment_start);
                needs_slash = false;
            }
            b".." => {
                let parent_end = segment_start - 1;
                if parent_end == start {
                    return None;
                }
                let parent = normal[..parent_end]
                    .iter()
                    .rposition(|byte| *byte == b'/')?;
                normal.truncate(parent + 1);
                needs_slash = false;
            }
            _ => {}
        }
        let Some(next) = after.strip_prefix(b"/") else {
            return append(normal, after);
        };
        rest = next;
        if needs_slash {
            normal.push(b'/');
        }
    }
}

/// `append_normalized_escapes()`: all that must be escaped is, and all else is not.
fn append(normal: &mut Vec<u8>, mut from: &[u8]) -> Option<()> {
    while let [byte, rest @ ..] = from {
        let (byte, was_escaped) = match byte {
            b'%' => (unescape(rest)?, true),
            byte => (*byte, false),
        };
        from = if was_escaped { &rest[2..] } else { rest };
        let is_unsafe = matches!(byte, 0..=0x1f | 0x7f.. | b' ' | b'<' | b'>' | b'"' | b'%')
            || matches!(byte, b'{' | b'}' | b'|' | b'\\' | b'^' | b'`');
        if is_unsafe || (was_escaped && b":/?#[]@!$&'()*+,;=".contains(&byte)) {
            normal.extend(format!("%{byte:02X}").bytes());
        } else {
            normal.push(byte);
        }
    }
    Some(())
}

fn unescape(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

//! `fsck_ident()` of git's `fsck.c`: name, email and date, as in `A U Thor <author@example.com> 0 +0000`.

use super::FsckMessage::{self, *};

/// The fault of a line, without its end, from the name on.
pub(super) fn check(line: &[u8]) -> Result<(), (FsckMessage, &'static str)> {
    if line.starts_with(b"<") {
        return Err((MissingNameBeforeEmail, "missing space before email"));
    }
    let name_end = line.iter().position(|byte| matches!(byte, b'<' | b'>'));
    let Some(name_end) = name_end else {
        return Err((MissingEmail, "missing email"));
    };
    if line[name_end] == b'>' {
        return Err((BadName, "bad name"));
    }
    if line[name_end - 1] != b' ' {
        return Err((MissingSpaceBeforeEmail, "missing space before email"));
    }
    let email = &line[name_end + 1..];
    let email_end = email.iter().position(|byte| matches!(byte, b'<' | b'>'));
    let rest = match email_end {
        Some(end) if email[end] == b'>' => &email[end + 1..],
        _ => return Err((BadEmail, "bad email")),
    };
    let Some(date) = rest.strip_prefix(b" ") else {
        return Err((MissingSpaceBeforeDate, "missing space before date"));
    };
    let blanks = date.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    check_date(&date[blanks.count()..])
}

fn check_date(date: &[u8]) -> Result<(), (FsckMessage, &'static str)> {
    let digits = date.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seconds, rest) = date.split_at(digits);
    if seconds.is_empty() {
        return Err((BadDate, "bad date"));
    }
    if seconds[0] == b'0' && date.get(1) != Some(&b' ') {
        return Err((ZeroPaddedDate, "zero-padded date"));
    }
    if !fits_a_time(seconds) {
        return Err((BadDateOverflow, "date causes integer overflow"));
    }
    match rest {
        [b' ', b'+' | b'-', zone @ ..]
            if zone.len() == 4 && zone.iter().all(u8::is_ascii_digit) =>
        {
            Ok(())
        }
        [b' ', ..] => Err((BadTimezone, "bad time zone")),
        _ => Err((BadDate, "bad date")),
    }
}

/// `date_overflows()` of git's `date.c`, for a `time_t` of 64 bits.
fn fits_a_time(seconds: &[u8]) -> bool {
    let parsed = str::from_utf8(seconds).ok().map(str::parse::<i64>);
    matches!(parsed, Some(Ok(_)))
}

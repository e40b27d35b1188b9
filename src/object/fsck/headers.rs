//! `fsck_commit()` and `fsck_tag()` of git's `fsck.c`.

use std::ops::ControlFlow;

use bstr::ByteSlice;

use super::{
    FsckMessage::{self, *},
    person,
    report::{Quoted, Report},
};

/// The rest of the headers, line by line.
struct Lines<'a> {
    rest: &'a [u8],
    id_len: usize,
}

pub(super) fn commit(data: &[u8], id_len: usize, report: &mut impl Report) -> ControlFlow<()> {
    verify_ends(data, report)?;
    let mut lines = Lines { rest: data, id_len };
    if !lines.skip("tree ") {
        return missing(report, MissingTree, "tree");
    }
    lines.id(BadTreeSha1, "tree", report)?;
    while lines.skip("parent ") {
        lines.id(BadParentSha1, "parent", report)?;
    }
    let mut authors = 0;
    while lines.skip("author ") {
        authors += 1;
        lines.person("author", report)?;
    }
    match authors {
        0 => missing(report, MissingAuthor, "author")?,
        1 => {}
        _ => {
            let detail = format_args!("invalid format - multiple 'author' lines");
            report.report(MultipleAuthors, detail)?;
        }
    }
    if !lines.skip("committer ") {
        return missing(report, MissingCommitter, "committer");
    }
    lines.person("committer", report)?;
    if data.contains(&0) {
        let detail = format_args!("NUL byte in the commit object body");
        report.report(NulInCommit, detail)?;
    }
    ControlFlow::Continue(())
}

pub(super) fn tag(data: &[u8], id_len: usize, report: &mut impl Report) -> ControlFlow<()> {
    verify_ends(data, report)?;
    let mut lines = Lines { rest: data, id_len };
    if !lines.skip("object ") {
        return missing(report, MissingObject, "object");
    }
    lines.id(BadObjectSha1, "object", report)?;
    if !lines.skip("type ") {
        return missing(report, MissingTypeEntry, "type");
    }
    let Some(kind) = lines.line() else {
        return cut_off(report, MissingType, "type");
    };
    if !matches!(kind, b"commit" | b"tree" | b"blob" | b"tag") {
        report.report(BadType, format_args!("invalid 'type' value"))?;
    }
    if !lines.skip("tag ") {
        return missing(report, MissingTagEntry, "tag");
    }
    let Some(name) = lines.line() else {
        return cut_off(report, MissingTag, "tag");
    };
    if !is_tag_name(name) {
        report.report(
            BadTagName,
            format_args!("invalid 'tag' name: {}", Quoted(name)),
        )?;
    }
    if lines.skip("tagger ") {
        lines.person("tagger", report)?
    } else {
        missing(report, MissingTaggerEntry, "tagger")?
    }
    if lines.skip("gpgsig ") || lines.skip("gpgsig-sha256 ") {
        if lines.line().is_none() {
            return cut_off(report, BadGpgsig, "gpgsig");
        }
        while lines.skip(" ") {
            if lines.line().is_none() {
                return cut_off(report, BadHeaderContinuation, "gpgsig");
            }
        }
    }
    if !matches!(lines.rest, [] | [b'\n', ..]) {
        let detail = format_args!("invalid format - extra header(s) after 'tagger'");
        report.report(ExtraHeaderEntry, detail)?;
    }
    ControlFlow::Continue(())
}

/// `verify_headers()`: the headers hold no NUL, and the last one has an end.
fn verify_ends(data: &[u8], report: &mut impl Report) -> ControlFlow<()> {
    let headers = match data.find(b"\n\n") {
        Some(end) => &data[..end + 1],
        None => data,
    };
    if let Some(offset) = headers.find_byte(0) {
        return report.report(
            NulInHeader,
            format_args!("unterminated header: NUL at offset {offset}"),
        );
    }
    if headers.ends_with(b"\n") {
        ControlFlow::Continue(())
    } else {
        report.report(UnterminatedHeader, format_args!("unterminated header"))
    }
}

impl<'a> Lines<'a> {
    fn skip(&mut self, start: &str) -> bool {
        let rest = self.rest.strip_prefix(start.as_bytes());
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// The rest of this line.
    fn line(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.rest.split_once_str("\n")?;
        self.rest = rest;
        Some(line)
    }

    fn id(&mut self, bad: FsckMessage, header: &str, report: &mut impl Report) -> ControlFlow<()> {
        let id = self.line().unwrap_or_default();
        if id.len() == 2 * self.id_len && id.iter().all(u8::is_ascii_hexdigit) {
            return ControlFlow::Continue(());
        }
        report.report(
            bad,
            format_args!("invalid '{header}' line format - bad sha1"),
        )
    }

    fn person(&mut self, header: &str, report: &mut impl Report) -> ControlFlow<()> {
        match person::check(self.line().unwrap_or_default()) {
            Ok(()) => ControlFlow::Continue(()),
            Err((message, problem)) => {
                report.report(message, format_args!("invalid '{header}' line - {problem}"))
            }
        }
    }
}

/// Whether `git check-ref-format refs/tags/<name>` takes it.
fn is_tag_name(name: &[u8]) -> bool {
    let full_name = [b"refs/tags/", name].concat();
    gix::validate::reference::name(full_name.as_bstr()).is_ok()
}

fn missing(report: &mut impl Report, message: FsckMessage, header: &str) -> ControlFlow<()> {
    report.report(
        message,
        format_args!("invalid format - expected '{header}' line"),
    )
}

fn cut_off(report: &mut impl Report, message: FsckMessage, header: &str) -> ControlFlow<()> {
    report.report(
        message,
        format_args!("invalid format - unexpected end after '{header}' line"),
    )
}

//! Generated history, written as one `git fast-import` stream.

use std::collections::HashMap;

/// Commits, merges, blobs and refs by the thousand in one process: `repo.import(&stream)`.
///
/// Trees have no mark: tag one afterwards, `repo.tag_annotated("a-tree", "main^{tree}")`.
#[derive(Default)]
pub struct FastImport {
    stream: Vec<u8>,
    marks: usize,
    existing: Vec<String>,
}

/// Something that later parts of the stream can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Its id is known once the stream is imported.
    Made(usize),
    Existing(usize),
}

impl FastImport {
    pub fn new() -> Self {
        Self::default()
    }

    /// A commit that the repository has already, to be a parent or a ref's target.
    pub fn existing(&mut self, rev: &str) -> Mark {
        self.existing.push(rev.to_owned());
        Mark::Existing(self.existing.len() - 1)
    }

    pub fn blob(&mut self, content: &[u8]) -> Mark {
        self.line("blob");
        let mark = self.mark();
        self.data(content);
        mark
    }

    /// Changes `files` on top of the first parent's tree and moves `branch` there.
    ///
    /// `branch` is a short branch name, or a full name that starts with `refs/`.
    pub fn commit(
        &mut self,
        branch: &str,
        parents: &[Mark],
        message: &str,
        files: &[(&str, &str)],
        date: i64,
    ) -> Mark {
        let name = full_name(branch, "refs/heads/");
        if parents.is_empty() {
            // Without this a branch that the stream has moved before would be the parent.
            self.line(&format!("reset {name}"));
        }
        self.line(&format!("commit {name}"));
        let mark = self.mark();
        self.line(&format!(
            "author A U Thor <author@example.com> {date} +0000"
        ));
        self.line(&format!(
            "committer C O Mitter <committer@example.com> {date} +0000"
        ));
        self.data(message.as_bytes());
        for (index, parent) in parents.iter().enumerate() {
            let relation = if index == 0 { "from" } else { "merge" };
            self.line(&format!("{relation} {}", self.name(*parent)));
        }
        for (path, content) in files {
            self.line(&format!("M 100644 inline {path}"));
            self.data(content.as_bytes());
        }
        mark
    }

    /// An annotated tag of a commit, a blob or another tag.
    pub fn tag(&mut self, name: &str, target: Mark, message: &str, date: i64) -> Mark {
        self.line(&format!("tag {name}"));
        let mark = self.mark();
        self.line(&format!("from {}", self.name(target)));
        self.line(&format!(
            "tagger C O Mitter <committer@example.com> {date} +0000"
        ));
        self.data(message.as_bytes());
        mark
    }

    /// A ref, given in full, to a commit. For thousands `Repo::set_refs` is quicker.
    pub fn set_ref(&mut self, name: &str, commit: Mark) {
        self.line(&format!("reset {name}"));
        self.line(&format!("from {}", self.name(commit)));
    }

    pub fn stream(&self) -> &[u8] {
        &self.stream
    }

    fn mark(&mut self) -> Mark {
        self.marks += 1;
        self.line(&format!("mark :{}", self.marks));
        Mark::Made(self.marks)
    }

    fn name(&self, mark: Mark) -> String {
        match mark {
            Mark::Made(number) => format!(":{number}"),
            Mark::Existing(index) => self.existing[index].clone(),
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        self.line(&format!("data {}", bytes.len()));
        self.stream.extend_from_slice(bytes);
        self.stream.push(b'\n');
    }

    fn line(&mut self, line: &str) {
        self.stream.extend_from_slice(line.as_bytes());
        self.stream.push(b'\n');
    }
}

pub(super) fn full_name(name: &str, namespace: &str) -> String {
    if name.starts_with("refs/") {
        name.to_owned()
    } else {
        format!("{namespace}{name}")
    }
}

/// The ids of what a stream made.
#[derive(Debug)]
pub struct Imported(HashMap<Mark, String>);

impl Imported {
    #[track_caller]
    pub fn id(&self, mark: Mark) -> &str {
        self.0.get(&mark).expect("something that this stream made")
    }

    pub(super) fn parse(marks: &str) -> Self {
        let entry = |line: &str| {
            let (mark, id) = line.strip_prefix(':')?.split_once(' ')?;
            Some((Mark::Made(mark.parse().ok()?), id.to_owned()))
        };
        Self(
            marks
                .lines()
                .map(|line| entry(line).expect("a mark and its id"))
                .collect(),
        )
    }
}

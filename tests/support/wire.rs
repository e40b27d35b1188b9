//! Answers of a protocol v2 server that git itself would not give.

use super::git::Repo;
use super::server::Answer;
use std::fs;
use std::path::PathBuf;

const SIDE_BAND_MAX: usize = 65_515;
const FLUSH: &[u8] = b"0000";

pub fn packet(content: &[u8]) -> Vec<u8> {
    [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
}

/// The lines of an `ls-refs` answer, as they are.
pub fn listing(lines: &[String]) -> Answer {
    let mut body: Vec<u8> = lines
        .iter()
        .flat_map(|line| packet(format!("{line}\n").as_bytes()))
        .collect();
    body.extend_from_slice(FLUSH);
    result(body)
}

pub fn pack(pack: &[u8]) -> Answer {
    let mut body = packet(b"packfile\n");
    for part in pack.chunks(SIDE_BAND_MAX) {
        body.extend(packet(&[b"\x01", part].concat()));
    }
    body.extend_from_slice(FLUSH);
    result(body)
}

/// An answer that ends before it begins (gitprotocol-common, "ERR").
pub fn err_line(text: &str) -> Vec<u8> {
    packet(format!("ERR {text}").as_bytes())
}

pub fn result(body: Vec<u8>) -> Answer {
    ok("application/x-git-upload-pack-result", body)
}

pub fn advertisement(body: Vec<u8>) -> Answer {
    ok("application/x-git-upload-pack-advertisement", body)
}

pub fn ok(content_type: &str, body: Vec<u8>) -> Answer {
    Answer::Status {
        code: 200,
        headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
        body,
    }
}

/// Text that hardly compresses.
pub fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 33) as u8 % 95)
    };
    std::iter::repeat_with(next).take(length).collect()
}

impl Repo {
    /// A pack of just these objects, whatever else they need.
    #[track_caller]
    pub fn pack_of(&self, ids: &[&str]) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let prefix = dir.path().join("p").to_string_lossy().into_owned();
        let name = self.git_with_input(
            &["pack-objects", "--quiet", &prefix],
            ids.join("\n").as_bytes(),
        );
        fs::read(format!("{prefix}-{name}.pack")).expect("the pack")
    }

    /// An object of these bytes, which git need not like.
    #[track_caller]
    pub fn write_object(&self, kind: &str, content: &[u8]) -> String {
        let args = ["hash-object", "-w", "--stdin", "--literally", "-t", kind];
        self.git_with_input(&args, content)
    }

    /// The file of a loose object, to damage it.
    pub fn object_file(&self, id: &str) -> PathBuf {
        let (fan, rest) = id.split_at(2);
        self.git_dir().join("objects").join(fan).join(rest)
    }

    /// A loose ref that `git update-ref` might refuse.
    #[track_caller]
    pub fn write_ref(&self, name: &str, content: &str) {
        let path = self.git_dir().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("the ref's directory");
        fs::write(path, format!("{content}\n")).expect("the ref's file");
    }

    /// Packed refs, unseen by git. They take the place of those that there are.
    #[track_caller]
    pub fn write_packed_refs(&self, refs: &[(&str, &str)]) {
        let mut refs = refs.to_vec();
        refs.sort();
        // Without `fully-peeled`, which would be a lie for annotated tags.
        let mut text = "# pack-refs with: sorted \n".to_owned();
        text.extend(refs.iter().map(|(name, id)| format!("{id} {name}\n")));
        fs::write(self.git_dir().join("packed-refs"), text).expect("packed-refs");
    }
}

//! A secret to send, and the search for it in what anybody could read.

use bstr::Finder;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

/// With characters that base64, percent-encoding and quoting all have opinions on.
pub const CANARY: &str = "canary+b1rd/of:death%\"x";
/// No form of the secret is longer.
const LONGEST: usize = 3 * CANARY.len();

/// Searches every file below, and says how many those are.
#[track_caller]
pub fn search(folder: &Path) -> usize {
    let mut files = 0;
    for entry in folder.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, kind) = (entry.path(), entry.file_type().expect("a type"));
        if kind.is_dir() {
            files += search(&path);
        } else if kind.is_file() {
            let content = File::open(&path).expect("a file");
            assert_eq!(secrets_in_file(content), [""; 0], "{}", path.display());
            files += 1;
        }
    }
    files
}

/// Piece by piece: some tests have files of hundreds of megabytes.
fn secrets_in_file(mut file: File) -> Vec<&'static str> {
    let mut piece = Vec::new();
    loop {
        let known = piece.len().saturating_sub(LONGEST);
        piece.drain(..known);
        let read = (&mut file).take(1 << 20).read_to_end(&mut piece);
        let found = secrets_in(&piece);
        if read.expect("a file that can be read") == 0 || !found.is_empty() {
            return found;
        }
    }
}

/// The forms of the secret that are in there.
pub fn secrets_in(bytes: &[u8]) -> Vec<&'static str> {
    static FORMS: LazyLock<Vec<(String, Finder<'static>)>> = LazyLock::new(|| {
        let debug = format!("{CANARY:?}");
        let mut forms = vec![CANARY.to_owned(), percent_encoded(CANARY)];
        forms.push(debug.trim_matches('"').to_owned());
        for before in 0..3 {
            // Of what stands before and after it only some bits are known.
            let encoded = base64(format!("{}{CANARY}", "a".repeat(before)).as_bytes());
            let known = (before * 4).div_ceil(3)..(before + CANARY.len()) * 4 / 3;
            forms.push(encoded[known].to_owned());
        }
        let finders = forms.into_iter().map(|form| {
            let finder = Finder::new(&form).into_owned();
            (form, finder)
        });
        finders.collect()
    });
    let found = FORMS
        .iter()
        .filter(|(_, finder)| finder.find(bytes).is_some());
    found.map(|(form, _)| form.as_str()).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() {
            true => out.push(char::from(byte)),
            false => write!(out, "%{byte:02X}").expect("a string takes everything"),
        }
    }
    out
}

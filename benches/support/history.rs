//! Generated histories: the same bytes on every machine.

use super::{FastImport, Mark, Repo};

const EPOCH: i64 = 1_600_000_000;
const FILES: usize = 600;
const FOLDERS: usize = 40;
const WORDS: [&str; 32] = [
    "let", "fn", "return", "if", "else", "match", "for", "while", "self", "index", "value", "name",
    "commit", "parent", "tree", "entry", "buffer", "length", "offset", "result", "error", "path",
    "remote", "branch", "object", "store", "count", "limit", "state", "next", "first", "last",
];

/// Numbers that look random (Marsaglia's xorshift64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 16) as usize % limit
    }

    /// A line of a program, about.
    pub fn line(&mut self) -> String {
        let mut line = "    ".repeat(self.below(4));
        for _ in 0..2 + self.below(8) {
            line += WORDS[self.below(WORDS.len())];
            line += [" ", ".", "(", ", ", " = "][self.below(5)];
            if self.below(6) == 0 {
                line += &self.below(1000).to_string();
            }
        }
        line + "\n"
    }
}

/// A file that is edited a few lines at a time.
#[derive(Clone)]
pub struct Text {
    lines: Vec<String>,
}

impl Text {
    pub fn new(lines: usize, dice: &mut Dice) -> Self {
        let lines = (0..lines).map(|_| dice.line()).collect();
        Text { lines }
    }

    pub fn edit(&mut self, dice: &mut Dice) {
        let at = dice.below(self.lines.len());
        for line in self.lines.iter_mut().skip(at).take(1 + dice.below(6)) {
            *line = dice.line();
        }
        self.lines.insert(at, dice.line());
    }

    pub fn content(&self) -> String {
        self.lines.concat()
    }
}

/// Puts a project of 600 files on `main`, in about this many commits: a side branch is merged with
/// each eighth, and each fiftieth has a tag. All in one pack. The last commit has one parent.
pub fn project(repo: &Repo, commits: usize) {
    let mut dice = Dice::new(1);
    let mut files: Vec<(String, Text)> = (0..FILES)
        .map(|number| {
            let folder = number % FOLDERS;
            let path = format!("src/part-{}/{folder}/file-{number}.rs", folder % 7);
            let lines = 20 + dice.below(200);
            (path, Text::new(lines, &mut dice))
        })
        .collect();
    let mut import = FastImport::new();
    let contents: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.clone(), text.content()))
        .collect();
    let mut tip = commit(&mut import, "main", &[], 0, &contents);
    for number in 1..commits {
        if number % 8 == 0 && number + 1 < commits {
            let edits = edits(&mut files, &mut dice);
            let side = commit(&mut import, "side", &[tip], number, &edits);
            tip = commit(&mut import, "main", &[tip, side], number, &edits);
        } else {
            let edits = edits(&mut files, &mut dice);
            tip = commit(&mut import, "main", &[tip], number, &edits);
        }
        if number % 50 == 0 {
            let name = format!("v0.{number}");
            import.tag(&name, tip, &name, EPOCH + number as i64);
        }
    }
    repo.import(&import);
    repo.delete_ref("refs/heads/side");
    repo.git(&["pack-refs", "--all"]);
    repo.git(&["repack", "-adfq"]);
}

/// A few files, and some of them far more often than others.
fn edits(files: &mut [(String, Text)], dice: &mut Dice) -> Vec<(String, String)> {
    let count = 1 + dice.below(4);
    let edit = |_| {
        let most = 1 + dice.below(FILES);
        let (path, text) = &mut files[dice.below(most)];
        text.edit(dice);
        (path.clone(), text.content())
    };
    (0..count).map(edit).collect()
}

fn commit(
    import: &mut FastImport,
    branch: &str,
    parents: &[Mark],
    number: usize,
    files: &[(String, String)],
) -> Mark {
    let files: Vec<_> = files
        .iter()
        .map(|(path, content)| (path.as_str(), content.as_str()))
        .collect();
    let message = format!("Change number {number}\n\nFor the reason that it is the next one.\n");
    let date = EPOCH + 3600 * number as i64;
    import.commit(branch, parents, &message, &files, date)
}

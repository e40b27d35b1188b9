//! The list of rooms in `docs/architecture.md`.

const DOCUMENT: &str = include_str!("../../docs/architecture.md");

/// Rooms from top to bottom: a folder with a `/` at its end, or a file.
pub(crate) struct Rooms(Vec<String>);

impl Rooms {
    pub(crate) fn of_the_document() -> Self {
        Rooms::parse(DOCUMENT)
    }

    /// The first word of each line in the first fenced block.
    pub(crate) fn parse(document: &str) -> Self {
        let block = document.split("```").nth(1).expect("a fenced block");
        let lines = block.lines().skip(1);
        let names = lines.filter_map(|line| line.split_whitespace().next());
        Rooms(names.map(String::from).collect())
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// The place in the list of the room that holds a file: the innermost one.
    pub(crate) fn of(&self, file: &str) -> Option<usize> {
        let places = 0..self.0.len();
        places
            .filter(|place| holds(&self.0[*place], file))
            .max_by_key(|place| self.0[*place].len())
    }
}

pub(crate) fn holds(room: &str, file: &str) -> bool {
    file == room || room.ends_with('/') && file.starts_with(room)
}

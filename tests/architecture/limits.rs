//! The limits of the house that are no matter of arrows. Test code counts.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    ImplItemFn, ItemFn, TraitItemFn,
    visit::{self, Visit},
};

use crate::{
    modules::{Modules, Sources},
    rooms::Rooms,
};

const MAX_LINES: usize = 450;
const MAX_FUNCTION_LINES: usize = 80;
/// A room may have one in so many of the code lines of the house.
const MIN_SHARE: usize = 10;
const PRONOUNS: [&str; 9] = [
    "What", "Who", "How", "Of", "Where", "Which", "It", "They", "Without",
];

/// Files and functions that are too long.
pub(crate) fn too_long(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            found.push(format!("long {file}"));
        }
        let mut functions = Functions(Vec::new());
        functions.visit_file(&syn::parse_file(text).expect("what rustc compiles"));
        for (name, lines) in functions.0 {
            if lines > MAX_FUNCTION_LINES {
                found.push(format!("long {file} {name}()"));
            }
        }
    }
    found
}

/// Names with the number of lines from the signature to the end.
struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let from = signature.fn_token.span.start().line;
        let to = body.brace_token.span.close().end().line;
        self.0.push((signature.ident.to_string(), to + 1 - from));
    }
}

impl Visit<'_> for Functions {
    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Rooms that are too large. Test code does not count here.
pub(crate) fn large_rooms(sources: &Sources, rooms: &Rooms) -> Vec<String> {
    let modules = Modules::parse(sources);
    let files: BTreeSet<_> = modules.iter().map(|module| &module.file).collect();
    let mut lines = BTreeMap::new();
    for file in files {
        *lines.entry(rooms.of(file)).or_insert(0) += code_lines(&sources[file]);
    }
    let house: usize = lines.values().sum();
    lines.retain(|_, lines| MIN_SHARE * *lines > house);
    let places = lines.into_keys().flatten();
    places
        .map(|place| format!("large {}", rooms.names()[place]))
        .collect()
}

/// The number of lines that are neither blank nor comment, up to the tests at the end of a file.
fn code_lines(text: &str) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines().map(str::trim_start);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

/// Docs whose first word stands in place of a noun.
pub(crate) fn pronoun_docs(sources: &Sources) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in sources {
        let mut is_inside = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            let doc = line.strip_prefix("///").or(line.strip_prefix("//!"));
            let first = doc.and_then(|doc| doc.split_whitespace().next());
            if !is_inside && first.is_some_and(|word| PRONOUNS.contains(&word)) {
                found.push(format!("{file}:{}: {line}", number + 1));
            }
            is_inside = doc.is_some();
        }
    }
    found
}

//! The files of `src`, and the names that each of their modules has.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, UseTree};

/// Texts by path, relative to `src`.
pub(crate) type Sources = BTreeMap<String, String>;
/// The names of a module and of those that it is in, outermost first; the crate's own is empty.
pub(crate) type ModulePath = Vec<String>;

pub(crate) fn read_sources() -> Sources {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Sources::new();
    read_folder(&src, "", &mut sources);
    sources
}

fn read_folder(folder: &Path, prefix: &str, sources: &mut Sources) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        let name = format!("{prefix}{name}");
        if entry.path().is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), sources);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("a text");
            sources.insert(name, text);
        }
    }
}

/// One module of the crate.
pub(crate) struct Module {
    pub(crate) path: ModulePath,
    pub(crate) file: String,
    pub(crate) items: Vec<Item>,
    names: HashMap<String, Name>,
    globs: Vec<Vec<String>>,
}

/// The meaning of a name in a module.
enum Name {
    /// An item that the module defines.
    Item,
    Module(ModulePath),
    /// A path that a `use` has brought in.
    Import(Vec<String>),
}

/// The end of a path.
pub(crate) enum Target<'a> {
    Item(&'a Module),
    Module(&'a Module),
}

impl<'a> Target<'a> {
    pub(crate) fn module(&self) -> &'a Module {
        match self {
            Target::Item(module) | Target::Module(module) => module,
        }
    }
}

/// The crate without its test code.
#[derive(Default)]
pub(crate) struct Modules(HashMap<ModulePath, Module>);

impl Modules {
    pub(crate) fn parse(sources: &Sources) -> Self {
        let mut modules = Modules::default();
        let root = parse_file(&sources["lib.rs"]);
        modules.add(sources, Vec::new(), "lib.rs", root);
        modules
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Module> {
        self.0.values()
    }

    /// Adds a module and those below it.
    fn add(&mut self, sources: &Sources, path: ModulePath, file: &str, items: Vec<Item>) {
        let mut module = Module {
            path: path.clone(),
            file: file.into(),
            items: Vec::new(),
            names: HashMap::new(),
            globs: Vec::new(),
        };
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            module.name(&item);
            match item {
                Item::Mod(child) => {
                    let mut path = path.clone();
                    path.push(child.ident.to_string());
                    match child.content {
                        Some((_, items)) => self.add(sources, path, file, items),
                        None => {
                            let (file, text) = file_of(sources, &path);
                            self.add(sources, path, file, parse_file(text));
                        }
                    }
                }
                item => module.items.push(item),
            }
        }
        self.0.insert(path, module);
    }

    /// Follows a path that is written in `from`; `None` where it leads out of the crate.
    pub(crate) fn resolve(&self, from: &ModulePath, path: &[String]) -> Option<Target<'_>> {
        // Deeper than re-exports are nested: two globs that name each other.
        self.resolve_within(from, path, 16)
    }

    fn resolve_within(
        &self,
        from: &ModulePath,
        path: &[String],
        depth: usize,
    ) -> Option<Target<'_>> {
        let (first, rest) = path.split_first()?;
        let depth = depth.checked_sub(1)?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(&self.0[&Vec::new()]),
            "self" => Target::Module(&self.0[from]),
            "super" => Target::Module(&self.0[&from[..from.len() - 1]]),
            name => self.lookup(&self.0[from], name, depth)?,
        };
        for name in rest {
            let Target::Module(module) = target else {
                return Some(target);
            };
            target = match name.as_str() {
                "super" => Target::Module(&self.0[&module.path[..module.path.len() - 1]]),
                name => self.lookup(module, name, depth)?,
            };
        }
        Some(target)
    }

    fn lookup<'a>(&'a self, module: &'a Module, name: &str, depth: usize) -> Option<Target<'a>> {
        match module.names.get(name) {
            Some(Name::Item) => Some(Target::Item(module)),
            Some(Name::Module(path)) => Some(Target::Module(&self.0[path])),
            // `use gix::oid` names a crate, not itself.
            Some(Name::Import(path)) if path[0] == name => None,
            Some(Name::Import(path)) => self.resolve_within(&module.path, path, depth),
            None => module.globs.iter().find_map(|glob| {
                match self.resolve_within(&module.path, glob, depth)? {
                    Target::Module(globbed) => self.lookup(globbed, name, depth.checked_sub(1)?),
                    Target::Item(_) => None,
                }
            }),
        }
    }
}

impl Module {
    fn name(&mut self, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Mod(item) => {
                let mut path = self.path.clone();
                path.push(item.ident.to_string());
                self.names
                    .insert(item.ident.to_string(), Name::Module(path));
                return;
            }
            Item::Use(item) => {
                for (name, path) in imports(&item.tree) {
                    match name {
                        Some(name) => drop(self.names.entry(name).or_insert(Name::Import(path))),
                        None => self.globs.push(path),
                    }
                }
                return;
            }
            Item::Macro(item) => return self.name_tokens(item.mac.tokens.clone()),
            _ => return,
        };
        self.names.insert(ident.to_string(), Name::Item);
    }

    /// The items that the code of a macro makes under a name of its own.
    fn name_tokens(&mut self, tokens: TokenStream) {
        let mut is_next = false;
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.name_tokens(group.stream()),
                TokenTree::Ident(name) if is_next => {
                    self.names.insert(name.to_string(), Name::Item);
                    is_next = false;
                }
                TokenTree::Ident(word) => {
                    is_next = ["enum", "struct", "trait"].iter().any(|kind| word == kind);
                }
                _ => is_next = false,
            }
        }
    }
}

/// The names that a `use` brings in, each with its path; no name for a glob.
pub(crate) fn imports(tree: &UseTree) -> Vec<(Option<String>, Vec<String>)> {
    let mut found = Vec::new();
    collect_imports(tree, &mut Vec::new(), &mut found);
    found
}

fn collect_imports(
    tree: &UseTree,
    prefix: &mut Vec<String>,
    found: &mut Vec<(Option<String>, Vec<String>)>,
) {
    let (name, alias) = match tree {
        UseTree::Path(tree) => {
            prefix.push(tree.ident.to_string());
            collect_imports(&tree.tree, prefix, found);
            prefix.pop();
            return;
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                collect_imports(tree, prefix, found);
            }
            return;
        }
        UseTree::Glob(_) => return found.push((None, prefix.clone())),
        UseTree::Name(name) => (name.ident.to_string(), None),
        UseTree::Rename(name) => (name.ident.to_string(), Some(name.rename.to_string())),
    };
    let mut path = prefix.clone();
    if name != "self" || path.is_empty() {
        path.push(name);
    }
    let alias = alias.or_else(|| path.last().cloned());
    found.push((alias, path));
}

/// Whether an item is compiled only for tests or fuzzing.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Ok(list) = attribute.meta.require_list() else {
            return false;
        };
        let text = list.tokens.to_string();
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        attribute.path().is_ident("cfg")
            && !text.starts_with("not")
            && words.any(|word| matches!(word, "test" | "fuzzing" | "doctest"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn parse_file(text: &str) -> Vec<Item> {
    syn::parse_file(text).expect("what rustc compiles").items
}

fn file_of<'a>(sources: &'a Sources, path: &[String]) -> (&'a str, &'a str) {
    let path = path.join("/");
    let places = [format!("{path}.rs"), format!("{path}/mod.rs")];
    let found = places.iter().find_map(|file| sources.get_key_value(file));
    let (file, text) = found.unwrap_or_else(|| panic!("no file for {path}"));
    (file, text)
}

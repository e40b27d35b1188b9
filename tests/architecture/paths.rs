//! The paths that the code of a module names.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    ImplItem, Item, ItemUse, Macro, Path, Stmt, VisRestricted,
    visit::{self, Visit},
};

use crate::modules::{Module, imports, is_test};

/// Every path of two or more names: of a `use`, in code, and in what is handed to a macro.
pub(crate) fn named(module: &Module) -> Vec<Vec<String>> {
    let mut collector = Collector(Vec::new());
    module
        .items
        .iter()
        .for_each(|item| collector.visit_item(item));
    collector.0
}

struct Collector(Vec<Vec<String>>);

impl Visit<'_> for Collector {
    fn visit_item(&mut self, item: &Item) {
        let attributes: &[_] = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        match item {
            ImplItem::Fn(function) if is_test(&function.attrs) => {}
            item => visit::visit_impl_item(self, item),
        }
    }

    fn visit_stmt(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Local(local) if is_test(&local.attrs) => {}
            Stmt::Macro(invocation) if is_test(&invocation.attrs) => {}
            statement => visit::visit_stmt(self, statement),
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        let paths = imports(&item.tree).into_iter().map(|(_, path)| path);
        self.0.extend(paths);
    }

    /// `pub(in a::b)` names nothing that is used.
    fn visit_vis_restricted(&mut self, _: &VisRestricted) {}

    fn visit_path(&mut self, path: &Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|part| part.ident.to_string())
            .collect();
        if names.len() > 1 {
            self.0.push(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &Macro) {
        self.0.extend(paths_of_tokens(invocation.tokens.clone()));
        visit::visit_macro(self, invocation);
    }
}

fn paths_of_tokens(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut path = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons != 2 {
                    paths.push(std::mem::take(&mut path));
                }
                path.push(name.to_string());
                colons = 0;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
            TokenTree::Group(group) => {
                paths.extend(paths_of_tokens(group.stream()));
                colons = 0;
            }
            _ => colons = 0,
        }
    }
    paths.push(path);
    paths.retain(|path| path.len() > 1);
    paths
}

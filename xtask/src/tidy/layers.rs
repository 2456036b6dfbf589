//! Which parts of the engine may name which: imports point one way only.

use super::module_paths::{NamedPath, module_of, named_paths};
use crate::Result;
use crate::workspace::{self, Workspace};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};

const ENGINE: &str = "unidist-engine/src";
const SCHEDULER: &str = "unidist-engine/src/scheduler";

/// The layers of the scheduler, from the lowest to the highest. Each names itself and those below.
const LAYERS: [&str; 4] = ["state", "policy", "transitions", "reactor"];

/// Parts of the engine, each with the modules of the engine that it does not import.
const FORBIDDEN: [(&str, &[&str]); 3] =
    [("worker", &["controller"]), ("store", &["link", "protocol"]), ("scheduler", &["link", "protocol"])];

/// The source files below a folder, by their paths from the root.
type Sources = BTreeMap<String, String>;

/// In the scheduler, each layer names only layers at or below its own, and the tables know no `Scheduler`.
pub(super) fn scheduler_layers_point_downwards(workspace: &Workspace) -> Result<Vec<String>> {
    let sources = read(workspace, SCHEDULER)?;
    check_layers(&sources)
}

/// Parts of the engine do not import those that are built on them.
pub(super) fn engine_imports_point_downwards(workspace: &Workspace) -> Result<Vec<String>> {
    check_imports(&read(workspace, ENGINE)?)
}

fn read(workspace: &Workspace, folder: &str) -> Result<Sources> {
    let mut sources = Sources::new();
    for path in workspace.files("rs")? {
        let name = workspace.relative(&path);
        if name.starts_with(&format!("{folder}/")) {
            sources.insert(name, workspace::read(&path)?);
        }
    }
    Ok(sources)
}

fn tokens(name: &str, text: &str) -> Result<TokenStream> {
    text.parse().map_err(|error| format!("{name}: {error}").into())
}

fn check_imports(sources: &Sources) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (name, text) in sources {
        let module = module_of(name);
        let Some((part, forbidden)) =
            FORBIDDEN.iter().find(|(part, _)| module.get(1).is_some_and(|first| first == part))
        else {
            continue;
        };
        for path in named_paths(name, tokens(name, text)?) {
            if let Some(other) = forbidden.iter().find(|other| path.is_in(&format!("crate::{other}"))) {
                let path_text = path.segments.join("::");
                wrong.push(format!("{name}:{}: `{part}` may not import `{other}`: {path_text}", path.line));
            }
        }
    }
    Ok(wrong)
}

fn check_layers(sources: &Sources) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (level, layer) in LAYERS.iter().enumerate() {
        if !sources.keys().any(|name| level_of(name) == Some(level)) {
            wrong.push(format!("{SCHEDULER}/{layer}: there is no such layer"));
        }
    }
    let reexports = match sources.get(&format!("{SCHEDULER}/mod.rs")) {
        Some(text) => reexports(text)?,
        None => BTreeMap::new(),
    };
    let mut methods: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (name, text) in sources {
        if let Some(level) = level_of(name) {
            functions(tokens(name, text)?, &mut |function| {
                methods.entry(function).or_default().insert(level);
            });
        }
    }
    for (name, text) in sources {
        let Some(level) = level_of(name) else { continue };
        let tokens = tokens(name, text)?;
        for path in named_paths(name, tokens.clone()) {
            if let Some(above) = layer_named(&path, &reexports).filter(|named| *named > level) {
                let (own, above) = (LAYERS[level], LAYERS[above]);
                wrong.push(format!(
                    "{name}:{}: `{own}` names the higher layer `{above}`: {}",
                    path.line,
                    path.segments.join("::")
                ));
            }
        }
        if level == 0 {
            let mut lines = Vec::new();
            impls_of_scheduler(&syn::parse_file(text)?.items, &mut lines);
            wrong.extend(lines.into_iter().map(|line| {
                format!("{name}:{line}: `impl Scheduler` in `state`: tables do not know the scheduler")
            }));
        }
        own_calls(tokens, &mut |function, line| {
            let lowest = methods.get(&function).and_then(BTreeSet::first);
            if let Some(above) = lowest.filter(|lowest| **lowest > level) {
                let (own, above) = (LAYERS[level], LAYERS[*above]);
                wrong
                    .push(format!("{name}:{line}: `{own}` calls `{function}` of the higher layer `{above}`"));
            }
        });
    }
    Ok(wrong)
}

/// The layer that a file of the scheduler belongs to; none for what is beside the layers.
fn level_of(name: &str) -> Option<usize> {
    let inner = name.strip_prefix(SCHEDULER)?.strip_prefix('/')?;
    let first = inner.split('/').next()?.trim_end_matches(".rs");
    LAYERS.iter().position(|layer| *layer == first)
}

/// The layer that a path leads to, also through a name that the scheduler's root re-exports.
fn layer_named(path: &NamedPath, reexports: &BTreeMap<String, usize>) -> Option<usize> {
    let first = match path.segments.as_slice() {
        [root, scheduler, first, ..] if root == "crate" && scheduler == "scheduler" => first,
        // An import of the layer itself has been found already; this is one that came with a glob.
        [first, ..] => return LAYERS.iter().position(|layer| layer == first),
        [] => return None,
    };
    let layer = LAYERS.iter().position(|layer| layer == first);
    layer.or_else(|| reexports.get(first).copied())
}

/// The names that the scheduler's root has from a layer.
fn reexports(text: &str) -> Result<BTreeMap<String, usize>> {
    let name = format!("{SCHEDULER}/mod.rs");
    let mut found = BTreeMap::new();
    for path in named_paths(&name, tokens(&name, text)?) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let inner = segments.strip_prefix(&["crate", "scheduler"]).unwrap_or(&segments);
        let Some(level) = inner.first().and_then(|first| LAYERS.iter().position(|layer| layer == first))
        else {
            continue;
        };
        if let Some(last) = inner.last().filter(|last| **last != "*" && inner.len() > 1) {
            found.insert((*last).to_owned(), level);
        }
    }
    Ok(found)
}

/// Reports the name of each function that is defined.
fn functions(tokens: TokenStream, report: &mut impl FnMut(String)) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => functions(group.stream(), report),
            TokenTree::Ident(word) if word == "fn" => {
                if let Some(TokenTree::Ident(name)) = tokens.peek() {
                    report(name.to_string());
                }
            }
            _ => {}
        }
    }
}

/// The lines of the `impl` blocks of `Scheduler`, of its traits as well.
fn impls_of_scheduler(items: &[syn::Item], found: &mut Vec<usize>) {
    for item in items {
        match item {
            syn::Item::Mod(module) => {
                let items = module.content.iter().flat_map(|(_, items)| items);
                impls_of_scheduler(&items.cloned().collect::<Vec<_>>(), found);
            }
            syn::Item::Impl(block) => {
                if let syn::Type::Path(of) = &*block.self_ty
                    && of.path.segments.last().is_some_and(|last| last.ident == "Scheduler")
                {
                    found.push(block.impl_token.span.start().line);
                }
            }
            _ => {}
        }
    }
}

/// Reports the name and line of each call `self.name(..)`, `Self::name(..)` or `Scheduler::name(..)`.
fn own_calls(tokens: TokenStream, report: &mut impl FnMut(String, usize)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => own_calls(group.stream(), report),
            TokenTree::Ident(word) if word == "self" || word == "Self" || word == "Scheduler" => {
                let rest = &tokens[index + 1..];
                let dots = rest.iter().take_while(|token| matches!(token, TokenTree::Punct(_))).count();
                if (1..=2).contains(&dots)
                    && let [TokenTree::Ident(name), TokenTree::Group(_), ..] = &rest[dots..]
                {
                    report(name.to_string(), name.span().start().line);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scheduler with these files; layers without one get an empty file.
    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources: Sources =
            files.iter().map(|(name, text)| (format!("{SCHEDULER}/{name}"), (*text).to_owned())).collect();
        for layer in LAYERS {
            sources.entry(format!("{SCHEDULER}/{layer}/mod.rs")).or_default();
        }
        check_layers(&sources).unwrap()
    }

    #[test]
    fn downward_imports_are_allowed() {
        let files = [
            (
                "reactor/on_done.rs",
                "use super::super::{transitions::settle, state::Tasks};\nuse crate::link::Ring;",
            ),
            ("policy/placement.rs", "use crate::scheduler::{event::Event, state::Workers};"),
            (
                "state/tasks.rs",
                "use super::workers::Workers; struct Tasks; impl Tasks { fn reactor(&self) {} }",
            ),
        ];
        assert!(findings(&files).is_empty(), "{:?}", findings(&files));
    }

    #[test]
    fn planted_upward_imports_are_found() {
        for planted in [
            "use crate::scheduler::reactor::on_done;",
            "use super::super::{event::Event, reactor};",
            "fn f() { crate::scheduler::reactor::on_done::run() }",
            "mod tests { use super::super::super::reactor::X; }",
            "use super::super::*;\nfn f() { reactor::g() }",
        ] {
            let found = findings(&[("policy/placement.rs", planted)]);
            assert!(matches!(found.as_slice(), [one] if one.contains("higher layer `reactor`")), "{found:?}");
        }
    }

    #[test]
    fn upward_imports_through_the_root_are_found() {
        let found = findings(&[
            ("mod.rs", "mod state;\nmod reactor;\nuse reactor::on_done::Outcome;\nuse state::Tasks;"),
            ("state/tasks.rs", "use crate::scheduler::{Outcome, Tasks};"),
        ]);
        assert!(matches!(found.as_slice(), [one] if one.contains("Outcome")), "{found:?}");
    }

    #[test]
    fn planted_impl_scheduler_in_state_is_found() {
        let found = findings(&[("state/tasks.rs", "\nimpl super::super::Scheduler { fn x(&self) {} }")]);
        assert!(found.iter().any(|one| one.contains("state/tasks.rs:2: `impl Scheduler`")), "{found:?}");
        assert!(findings(&[("transitions/settle.rs", "impl Scheduler { fn x(&self) {} }")]).is_empty());
    }

    #[test]
    fn planted_calls_of_a_higher_layer_are_found() {
        let found = findings(&[
            ("reactor/on_done.rs", "impl Scheduler { fn on_done(&mut self) { self.settle() } }"),
            ("transitions/settle.rs", "impl Scheduler { fn settle(&mut self) { self.on_done() } }"),
        ]);
        assert!(matches!(found.as_slice(), [one] if one.contains("calls `on_done`")), "{found:?}");
    }

    #[test]
    fn missing_layers_are_found() {
        let sources = [(format!("{SCHEDULER}/state/mod.rs"), String::new())].into();
        assert_eq!(check_layers(&sources).unwrap().len(), 3);
    }

    #[test]
    fn planted_imports_between_parts_are_found() {
        let sources = [
            ("worker/mod.rs", "use crate::controller::X;"),
            ("store/segment.rs", "use super::super::link::ring;"),
            ("controller/mod.rs", "use crate::{link::A, store::B, worker::C};"),
            ("worker/client.rs", "use crate::controllers::X; // crate::controller"),
        ];
        let sources = sources.map(|(name, text)| (format!("{ENGINE}/{name}"), text.to_owned())).into();
        let found = check_imports(&sources).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("unidist-engine/src/store/segment.rs:1: `store` may not import `link`"));
    }
}

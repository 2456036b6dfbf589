//! Finds the places in a crate that make errors, warnings and log lines.

use super::text::{Names, is_named, tail};
use crate::Result;
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ExprMethodCall, ExprStruct, Item, ItemImpl, Macro, ReturnType, Type};

/// The kind of a text of which only the place is known where it becomes an error.
const PART: &str = "part of an error";

/// A text that a user can meet.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) module: String,
}

/// The sources of a library, parsed.
pub(super) struct Crate {
    /// The syntax trees, by module (such as `controller::driver`).
    files: BTreeMap<String, syn::File>,
    names: Names,
    /// Functions that return an error, with its kind.
    makers: BTreeMap<String, String>,
    /// Types that implement `std::error::Error`.
    errors: BTreeSet<String>,
}

impl Crate {
    /// Parses the files, given by their paths below `src`.
    pub(super) fn parse(sources: &BTreeMap<String, String>) -> Result<Self> {
        let mut files = BTreeMap::new();
        for (path, text) in sources {
            let module = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
            files.insert(module, syn::parse_file(text).map_err(|error| format!("{path}: {error}"))?);
        }
        let mut definitions = Definitions::default();
        files.values().for_each(|file| definitions.visit_file(file));
        let Definitions { names, makers, errors } = definitions;
        Ok(Crate { files, names, makers, errors })
    }

    /// All messages, in order of kind, text and module.
    pub(super) fn messages(&self) -> BTreeSet<Message> {
        let mut found = BTreeSet::new();
        for (module, file) in &self.files {
            let mut finder = Finder {
                source: self,
                names: self.names.clone(),
                module,
                display_of: None,
                found: &mut found,
            };
            finder.visit_file(file);
        }
        found
    }
}

/// What the rest of a crate refers to by name.
#[derive(Default)]
struct Definitions {
    names: Names,
    makers: BTreeMap<String, String>,
    errors: BTreeSet<String>,
}

impl Definitions {
    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let ReturnType::Type(_, returned) = &signature.output else { return };
        let name = signature.ident.to_string();
        match last_ident(returned).as_deref() {
            Some("String" | "str") => {
                self.names.functions.entry(name).or_default().extend(tail(body).cloned());
            }
            Some(error) if error.ends_with("Error") && !["new", "from"].contains(&name.as_str()) => {
                let kind = first_kind(body).unwrap_or_else(|| error.to_owned());
                // Functions are looked up by name: with several of one name, the kind is not known.
                let known = self.makers.entry(name).or_insert_with(|| kind.clone());
                if *known != kind {
                    PART.clone_into(known);
                }
            }
            _ => {}
        }
    }
}

impl Visit<'_> for Definitions {
    fn visit_item(&mut self, item: &Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_const(&mut self, constant: &syn::ItemConst) {
        self.names.constants.insert(constant.ident.to_string(), (*constant.expr).clone());
    }

    fn visit_impl_item_const(&mut self, constant: &syn::ImplItemConst) {
        self.names.constants.insert(constant.ident.to_string(), constant.expr.clone());
    }

    fn visit_item_impl(&mut self, block: &ItemImpl) {
        if implemented(block).as_deref() == Some("Error") {
            self.errors.extend(last_ident(&block.self_ty));
        }
        visit::visit_item_impl(self, block);
    }
}

/// Walks through a file, with the names in scope.
struct Finder<'a> {
    source: &'a Crate,
    names: Names,
    module: &'a str,
    /// In an implementation of `Display` for an error: the kind, which is the variant or the type.
    display_of: Option<String>,
    found: &'a mut BTreeSet<Message>,
}

impl Finder<'_> {
    fn add(&mut self, kind: &str, texts: Vec<String>) {
        for text in texts {
            // A name alone, such as that of a function, is no message.
            if text.trim().contains(' ') {
                self.found.insert(Message { kind: kind.to_owned(), text, module: self.module.to_owned() });
            }
        }
    }

    fn add_all<'e>(&mut self, kind: &str, expressions: impl IntoIterator<Item = &'e Expr>) {
        for expression in expressions {
            let texts = self.names.texts(expression);
            self.add(kind, texts);
        }
    }

    /// What is inside has its own local names.
    fn scoped(&mut self, walk: impl FnOnce(&mut Self)) {
        let locals = self.names.locals.clone();
        walk(self);
        self.names.locals = locals;
    }
}

impl Visit<'_> for Finder<'_> {
    fn visit_item(&mut self, item: &Item) {
        if !is_test(attributes(item)) {
            self.scoped(|finder| visit::visit_item(finder, item));
        }
    }

    fn visit_block(&mut self, block: &syn::Block) {
        self.scoped(|finder| visit::visit_block(finder, block));
    }

    fn visit_local(&mut self, local: &syn::Local) {
        visit::visit_local(self, local);
        let pattern = match &local.pat {
            syn::Pat::Type(typed) => &*typed.pat,
            pattern => pattern,
        };
        if let (syn::Pat::Ident(name), Some(value)) = (pattern, &local.init) {
            self.names.locals.insert(name.ident.to_string(), (*value.expr).clone());
        }
    }

    fn visit_item_impl(&mut self, block: &ItemImpl) {
        let name = last_ident(&block.self_ty).unwrap_or_default();
        let is_error = name.ends_with("Error") || self.source.errors.contains(&name);
        let display = implemented(block).as_deref() == Some("Display") && is_error;
        let outer = std::mem::replace(&mut self.display_of, display.then_some(name));
        visit::visit_item_impl(self, block);
        self.display_of = outer;
    }

    fn visit_arm(&mut self, arm: &syn::Arm) {
        let outer = self.display_of.clone();
        if let (Some(kind), Some(variant)) = (&mut self.display_of, variant_of(&arm.pat)) {
            *kind = variant;
        }
        visit::visit_arm(self, arm);
        self.display_of = outer;
    }

    fn visit_expr_call(&mut self, call: &ExprCall) {
        visit::visit_expr_call(self, call);
        let Expr::Path(function) = &*call.func else { return };
        let segments: Vec<String> =
            function.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [.., "TaskError", "new"] => {
                let kind = call.args.first().and_then(last_segment).unwrap_or_else(|| "TaskError".to_owned());
                self.add_all(&kind, call.args.iter().skip(1));
            }
            [.., "Error", name] if name.starts_with("new") => {
                // The macros' errors are those of `syn`, those of the system are `io::Error`.
                let kind = if segments.contains(&"io".to_owned()) { "io::Error" } else { "compile error" };
                self.add_all(kind, &call.args);
            }
            [.., error, name] if error.ends_with("Error") && *name != "from" => {
                self.add_all(&camel_case(name), &call.args);
            }
            ["Err" | "Some"] => self.add_all(PART, &call.args),
            [.., name] => {
                if let Some(kind) = self.source.makers.get(*name) {
                    self.add_all(kind, &call.args);
                }
            }
            [] => {}
        }
    }

    fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
        visit::visit_expr_method_call(self, call);
        let name = call.method.to_string();
        match name.as_str() {
            "ok_or" | "ok_or_else" | "map_err" | "then" | "then_some" | "invalid" | "fail" => {
                self.add_all(PART, &call.args)
            }
            "write_str" => {
                if let Some(kind) = self.display_of.clone() {
                    self.add_all(&kind, &call.args);
                }
            }
            name => {
                if let Some(kind) = self.source.makers.get(name) {
                    self.add_all(kind, &call.args);
                }
            }
        }
    }

    fn visit_expr_struct(&mut self, literal: &ExprStruct) {
        visit::visit_expr_struct(self, literal);
        let segments: Vec<String> =
            literal.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(kind) = segments.last().filter(|_| segments.iter().any(|name| name.ends_with("Error"))) {
            self.add_all(kind, literal.fields.iter().map(|field| &field.expr));
        }
    }

    fn visit_macro(&mut self, call: &Macro) {
        let skipped = usize::from(is_named(call, &["write", "writeln", "assert"]));
        let log = ["error", "warn", "info", "debug"].into_iter().find(|level| is_named(call, &[level]));
        let kind = match log {
            Some(level) => format!("log: {level}"),
            None if is_named(call, &["eprintln", "eprint"]) => "stderr".to_owned(),
            None if is_named(call, &["panic", "assert"]) => "panic".to_owned(),
            None if is_named(call, &["compile_error"]) => "compile error".to_owned(),
            None if is_named(call, &["write", "writeln"]) => match &self.display_of {
                Some(kind) => kind.clone(),
                None if call.tokens.to_string().contains("stderr ()") => "stderr".to_owned(),
                None => return,
            },
            None => return,
        };
        let texts = self.names.format(call, skipped);
        self.add(&kind, texts);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if attribute.path().segments.last().is_some_and(|last| last.ident == "on_unimplemented") {
            let _ = attribute.parse_nested_meta(|meta| {
                let text: syn::LitStr = meta.value()?.parse()?;
                self.add("compile error", vec![text.value()]);
                Ok(())
            });
        }
    }
}

/// The trait that a block implements.
fn implemented(block: &ItemImpl) -> Option<String> {
    Some(block.trait_.as_ref()?.1.segments.last()?.ident.to_string())
}

/// The last name of a type, of a reference's target too.
fn last_ident(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        Type::Reference(reference) => last_ident(&reference.elem),
        _ => None,
    }
}

fn last_segment(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Path(path) if path.path.segments.len() > 1 => {
            Some(path.path.segments.last()?.ident.to_string())
        }
        _ => None,
    }
}

/// The variant that a pattern matches.
fn variant_of(pattern: &syn::Pat) -> Option<String> {
    let path = match pattern {
        syn::Pat::Struct(pattern) => &pattern.path,
        syn::Pat::TupleStruct(pattern) => &pattern.path,
        syn::Pat::Path(pattern) => &pattern.path,
        _ => return None,
    };
    (path.segments.len() > 1).then(|| path.segments.last().map(|last| last.ident.to_string())).flatten()
}

/// The kind of error that a function makes: the first `ErrorKind::X` or `Error::X` in it.
fn first_kind(body: &syn::Block) -> Option<String> {
    struct First(Option<String>);
    impl Visit<'_> for First {
        fn visit_path(&mut self, path: &syn::Path) {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            if let [.., owner, name] = segments.as_slice()
                && (owner.ends_with("Error") || owner == "ErrorKind")
                && name != "new"
            {
                self.0.get_or_insert_with(|| camel_case(name));
            }
        }
    }
    let mut first = First(None);
    first.visit_block(body);
    first.0
}

/// `system` as `System`, `new_spanned` as `NewSpanned`, variants as they are.
fn camel_case(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str())
    };
    name.split('_').map(capital).collect()
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let cfg_test = attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test");
        cfg_test || attribute.path().segments.last().is_some_and(|last| last.ident == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(code: &str) -> Vec<(String, String)> {
        let sources = [("a/b.rs".to_owned(), code.to_owned())].into();
        let found = Crate::parse(&sources).unwrap().messages();
        found.into_iter().map(|message| (message.kind, message.text)).collect()
    }

    fn pair(kind: &str, text: &str) -> (String, String) {
        (kind.to_owned(), text.to_owned())
    }

    #[test]
    fn errors_and_logs_are_found_with_their_kinds() {
        let code = r#"
            const ADVICE: &str = "use fewer";
            fn f(path: &Path) -> Result<()> {
                let message = format!("{}: too many: {ADVICE}", path.display());
                log::warn!("it is slow: {error}");
                let _ = Error::Launch { message: "cannot start".to_owned() };
                let _ = invalid("no such name");
                x.ok_or_else(|| format!("no {} here", x.len()))?;
                Err(TaskError::new(ErrorKind::StoreFull, message))
            }
            fn invalid(what: &str) -> Error { Error::argument("f", what) }
            #[cfg(test)]
            mod tests { fn g() { panic!("not a message") } }
        "#;
        assert_eq!(
            messages(code),
            [
                pair("Argument", "no such name"),
                pair("Launch", "cannot start"),
                pair("StoreFull", "{path}: too many: use fewer"),
                pair("log: warn", "it is slow: {error}"),
                pair("part of an error", "no {x} here"),
            ]
        );
    }

    #[test]
    fn display_of_errors_is_found_by_variant() {
        let code = r#"
            impl fmt::Display for PoolError {
                fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                    match self {
                        PoolError::NoList => f.write_str("a list is missing"),
                        PoolError::Removed { type_name } => write!(f, "the {type_name} was removed"),
                    }
                }
            }
            impl fmt::Display for Name { fn fmt(&self) { write!(f, "not an error") } }
        "#;
        assert_eq!(
            messages(code),
            [pair("NoList", "a list is missing"), pair("Removed", "the {type_name} was removed")]
        );
    }

    #[test]
    fn compile_errors_are_found() {
        let code = r#"
            #[diagnostic::on_unimplemented(message = "it cannot be sent", note = "derive it")]
            trait A {}
            fn f() { Error::new_spanned(x, "one constructor only") }
        "#;
        assert_eq!(
            messages(code),
            [
                pair("compile error", "derive it"),
                pair("compile error", "it cannot be sent"),
                pair("compile error", "one constructor only")
            ]
        );
    }
}

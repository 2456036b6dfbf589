//! `#[remote]` on an `impl` block.

use crate::Errors;
use crate::body::{arguments, decode, finish};
use crate::options::{ItemKind, Options};
use crate::signature::{Shape, is_generic, receives_mut};
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::{Attribute, Error, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Meta, Type, Visibility};

pub(crate) fn expand(options: Tokens, mut block: ItemImpl) -> Tokens {
    let mut errors = Errors::default();
    let options = Options::parse(options, ItemKind::Actor, &mut errors);
    let parts = Parts::of(&mut block, &mut errors);
    let added = parts.map(|parts| parts.expand(&options));
    let errors = errors.to_tokens();
    quote!(#block #added #errors)
}

/// The parts of the block.
struct Parts {
    actor: Type,
    ident: Ident,
    constructor: Option<Constructor>,
    methods: Vec<Method>,
    /// A function is marked as the constructor. If it is wrong, the missing constructor is no second error.
    has_new: bool,
}

struct Constructor {
    ident: Ident,
    vis: Visibility,
    docs: Vec<Attribute>,
    shape: Shape,
}

struct Method {
    /// The `cfg` attributes of the method. (Those of a whole item are evaluated before its attribute.)
    cfgs: Vec<Attribute>,
    ident: Ident,
    vis: Visibility,
    docs: Vec<Attribute>,
    shape: Shape,
    exclusive: bool,
    asynchronous: bool,
    options: Options,
}

impl Parts {
    /// Takes the block apart and removes our attributes from it, even if there are errors.
    fn of(block: &mut ItemImpl, errors: &mut Errors) -> Option<Self> {
        let actor = (*block.self_ty).clone();
        let ident = errors.check(actor_ident(block));
        let mut parts = Parts {
            actor,
            ident: ident.clone().unwrap_or_else(|| Ident::new("Actor", Span::call_site())),
            constructor: None,
            methods: Vec::new(),
            has_new: false,
        };
        for item in &mut block.items {
            if let ImplItem::Fn(function) = item {
                let (is_new, own) = take_attributes(function);
                parts.add(function, is_new, own, errors);
            }
        }
        if ident.is_some() && !parts.has_new {
            let message = format!(
                "the actor `{}` has no constructor: mark one function of this block `#[new]`",
                parts.ident
            );
            errors.add(Error::new_spanned(&parts.actor, message));
        }
        ident.map(|_| parts)
    }

    fn add(&mut self, function: &ImplItemFn, is_new: bool, own: Option<Tokens>, errors: &mut Errors) {
        let signature = &function.sig;
        let docs: Vec<_> =
            function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).cloned().collect();
        if is_new {
            let shape = errors.check(constructor_fault(self.has_new, function));
            self.has_new = true;
            let shape = shape
                .and_then(|()| Shape::of(signature, Some(&self.actor), "an actor's constructor", errors));
            if let Some(own) = own {
                errors.add(Error::new_spanned(
                    own,
                    "a constructor has no options of its own: put them into the `#[remote]` of the `impl` block",
                ));
            }
            if let Some(shape) = shape {
                self.constructor = Some(Constructor {
                    ident: signature.ident.clone(),
                    vis: function.vis.clone(),
                    docs,
                    shape,
                });
            }
            return;
        }
        let Some(receiver) = signature.receiver() else {
            if let Some(own) = own {
                errors.add(Error::new_spanned(
                    own,
                    "`#[remote]` is for methods, and this function has no `self`: remove the attribute, or add `&self`",
                ));
            }
            return;
        };
        let options = Options::parse(own.unwrap_or_default(), ItemKind::Method, errors);
        let exclusive = errors.check(receives_mut(receiver));
        if is_generic(&signature.generics) {
            let message =
                "an actor method cannot be generic: use concrete types, or move it to another `impl` block";
            errors.add(Error::new_spanned(&signature.generics, message));
            return;
        }
        let shape = Shape::of(signature, Some(&self.actor), "an actor method", errors);
        if let (Some(shape), Some(exclusive)) = (shape, exclusive) {
            let cfgs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg"));
            self.methods.push(Method {
                cfgs: cfgs.cloned().collect(),
                ident: signature.ident.clone(),
                vis: function.vis.clone(),
                docs,
                shape,
                exclusive,
                asynchronous: signature.asyncness.is_some(),
                options,
            });
        }
    }

    fn expand(&self, options: &Options) -> Tokens {
        let (actor, ident) = (&self.actor, &self.ident);
        let methods_ident = format_ident!("{ident}Methods");
        let constructor = self.constructor.as_ref().map(|constructor| self.constructor(constructor, options));
        let markers = self.methods.iter().map(|method| self.method(method, options));
        let fields = self.methods.iter().map(|method| {
            let Method { cfgs, ident: name, vis, docs, shape, .. } = method;
            let (marker, types, returns) =
                (self.marker(name), &shape.types, method.options.num_returns.unwrap_or(1));
            quote!(#(#cfgs)* #(#docs)* #vis #name: ::unidist::ActorMethod<#actor, #marker, (#(#types,)*), #returns>)
        });
        let values = self
            .methods
            .iter()
            .map(|Method { cfgs, ident, .. }| quote!(#(#cfgs)* #ident: ::unidist::ActorMethod::new(actor)));
        let constructor_key = match &self.constructor {
            Some(constructor) => {
                let marker = self.marker(&constructor.ident);
                quote!(::unidist::__private::constructor_key::<#actor, #marker>())
            }
            None => quote!(::core::unreachable!()), // an error of this expansion says that it is missing
        };
        let constructor_check =
            self.constructor.iter().map(|constructor| constructor.shape.argument_checks());
        let method_checks = self.methods.iter().map(|Method { cfgs, shape, options, .. }| {
            let (arguments, result) = (shape.argument_checks(), shape.result_check(options.num_returns));
            quote!(#(#cfgs)* { #arguments #result })
        });
        let doc = format!("The remote methods of `{ident}`, to which an `ActorHandle<{ident}>` derefs.");
        quote! {
            #constructor
            #(#markers)*

            #[doc = #doc]
            #[allow(missing_docs, private_interfaces, unreachable_pub)]
            #[derive(Debug)]
            pub struct #methods_ident {
                #(#fields,)*
            }

            impl ::unidist::Actor for #actor {
                type Methods = #methods_ident;

                fn __methods(actor: &::unidist::__private::ActorRef) -> #methods_ident {
                    let _ = actor;
                    #methods_ident {
                        #(#values,)*
                    }
                }

                fn __constructor() -> ::unidist::Result<::unidist::__private::FunctionKey> {
                    #constructor_key
                }
            }

            const _: () = {
                #[allow(dead_code)]
                fn check() {
                    #(#constructor_check)*
                    #(#method_checks)*
                }
            };
        }
    }

    fn constructor(&self, constructor: &Constructor, options: &Options) -> Tokens {
        let Constructor { ident: name, vis, docs, shape } = constructor;
        let (actor, marker) = (&self.actor, self.marker(name));
        let (names, types, path) = (&shape.names, &shape.types, self.path(name));
        let explicit = explicit_name(options.name.as_ref().map(LitStr::value));
        let defaults = &options.defaults;
        let arguments = arguments(shape);
        let decode = decode(shape, &arguments);
        let call = finish(quote!(<#actor>::#name(#(#arguments),*)), shape.fallible, None);
        quote! {
            #[doc(hidden)]
            #[allow(non_camel_case_types, unreachable_pub, missing_debug_implementations)]
            #vis struct #marker;

            #[allow(clippy::result_large_err)]
            impl ::unidist::__private::Constructor<#actor> for #marker {
                const NAME: &'static str = #path;
                const EXPLICIT_NAME: ::core::option::Option<&'static str> = #explicit;

                fn defaults(options: &mut ::unidist::__private::TaskOptions) {
                    let _ = &options;
                    #(#defaults)*
                }

                fn build(
                    inputs: ::unidist::__private::ReceivedArgs,
                ) -> ::core::result::Result<#actor, ::unidist::__private::TaskError> {
                    #decode
                    #call
                }
            }

            #[allow(private_interfaces, unreachable_pub)]
            impl #actor {
                /// Starts an actor. The arguments are those of its constructor:
                ///
                #(#docs)*
                #vis fn remote(#(#names: impl ::unidist::IntoArg<#types>),*) -> ::unidist::ActorHandle<#actor> {
                    Self::options().remote(#(#names),*)
                }

                /// Options for starting an actor: `options().name("x").remote(..)`.
                #vis fn options() -> ::unidist::ActorOptions<#actor, #marker, (#(#types,)*)> {
                    ::unidist::ActorOptions::new()
                }
            }
        }
    }

    fn method(&self, method: &Method, options: &Options) -> Tokens {
        let Method { cfgs, ident: name, vis, shape, exclusive, asynchronous, .. } = method;
        let (actor, marker, path) = (&self.actor, self.marker(name), self.path(name));
        let value = &shape.value;
        let class = options.name.as_ref().map(LitStr::value);
        let own = method.options.name.as_ref().map(LitStr::value);
        let explicit = explicit_name(own.or_else(|| class.map(|class| format!("{class}.{name}"))));
        let defaults = &method.options.defaults;
        let arguments = arguments(shape);
        let decode = decode(shape, &arguments);
        let awaited = asynchronous.then(|| quote!(.await));
        let call = finish(quote!(state.#name(#(#arguments),*)), shape.fallible, awaited);
        let body = match (asynchronous, exclusive) {
            (true, true) => quote! {
                ::unidist::__private::later(async move {
                    #decode
                    let mut state = state.write().await;
                    #call
                })
            },
            (true, false) => quote! {
                ::unidist::__private::later(async move {
                    #decode
                    let state = state.read().await;
                    #call
                })
            },
            (false, true) => quote! {
                ::unidist::__private::exclusive(state, inputs, |state, inputs| { #decode #call })
            },
            (false, false) => quote! {
                ::unidist::__private::shared(state, inputs, |state, inputs| { #decode #call })
            },
        };
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(non_camel_case_types, unreachable_pub, missing_debug_implementations)]
            #vis struct #marker;

            #(#cfgs)*
            #[allow(clippy::result_large_err)]
            impl ::unidist::__private::Method<#actor> for #marker {
                type Value = #value;
                const NAME: &'static str = #path;
                const EXPLICIT_NAME: ::core::option::Option<&'static str> = #explicit;
                const ASYNCHRONOUS: bool = #asynchronous;

                fn defaults(options: &mut ::unidist::__private::TaskOptions) {
                    let _ = &options;
                    #(#defaults)*
                }

                fn call(
                    state: ::std::rc::Rc<::unidist::__private::State<#actor>>,
                    inputs: ::unidist::__private::ReceivedArgs,
                ) -> ::unidist::__private::Started<#value> {
                    #body
                }
            }
        }
    }

    /// The marker type of a function of the block.
    fn marker(&self, name: &Ident) -> Ident {
        format_ident!("__{}_{}", self.ident, name)
    }

    fn path(&self, name: &Ident) -> Tokens {
        let (actor, name) = (self.ident.to_string(), name.to_string());
        quote!(::core::concat!(::core::module_path!(), "::", #actor, "::", #name))
    }
}

/// The last segment of the actor's type, which must be a plain path.
fn actor_ident(block: &ItemImpl) -> syn::Result<Ident> {
    if let Some((_, of_trait, _)) = &block.trait_ {
        return Err(Error::new_spanned(
            of_trait,
            "`#[remote]` belongs on an `impl` block of the type itself, not on one of a trait",
        ));
    }
    let generic = "an actor cannot be generic: use a concrete type";
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(&block.generics, generic));
    }
    match &*block.self_ty {
        Type::Path(path) if path.qself.is_none() => match path.path.segments.last() {
            Some(last) if last.arguments.is_none() => Ok(last.ident.clone()),
            _ => Err(Error::new_spanned(path, generic)),
        },
        other => Err(Error::new_spanned(other, "an actor must be a struct or an enum")),
    }
}

fn constructor_fault(is_second: bool, function: &ImplItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if is_second {
        return Err(Error::new_spanned(
            &signature.ident,
            "an actor has one constructor, and this is a second `#[new]`: remove one of them",
        ));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new_spanned(
            receiver,
            "the `#[new]` constructor creates the actor, so it cannot take `self`",
        ));
    }
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(
            asyncness,
            "the `#[new]` constructor cannot be async: await in a method instead",
        ));
    }
    if is_generic(&signature.generics) {
        return Err(Error::new_spanned(
            &signature.generics,
            "the `#[new]` constructor cannot be generic: use concrete types",
        ));
    }
    Ok(())
}

/// Removes `#[new]` and `#[remote(..)]` from a function; returns whether the first was there, and the second's options.
fn take_attributes(function: &mut ImplItemFn) -> (bool, Option<Tokens>) {
    let (mut is_new, mut own) = (false, None);
    function.attrs.retain(|attribute| {
        if attribute.path().is_ident("new") {
            is_new = true;
            return false;
        }
        if attribute.path().segments.last().is_some_and(|last| last.ident == "remote") {
            own = Some(match &attribute.meta {
                Meta::List(list) => list.tokens.clone(),
                _ => Tokens::new(),
            });
            return false;
        }
        true
    });
    (is_new, own)
}

fn explicit_name(name: Option<String>) -> Tokens {
    match name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    }
}

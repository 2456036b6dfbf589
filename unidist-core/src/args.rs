//! Arguments: what may be passed for a parameter, and how it is sent.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use crate::serialize_context::{self, Encoded, Role};
use crate::session::BackendProxy;
use serde::Serialize;
use std::any::type_name;
use unidist_common::{Arg, DataId, Error, ErrorKind, TaskError};

/// An argument whose encoding is larger than this (in bytes) becomes an object of its own, so that the call's
/// description stays small and the data goes through the shared store.
pub(crate) const INLINE_LIMIT: usize = 32 * 1024;

/// The arguments of a call that is being made.
#[doc(hidden)]
#[derive(Debug)]
pub struct ArgList {
    /// `None` after an error: later arguments are ignored.
    backend: Option<BackendProxy>,
    error: Option<Error>,
    args: Vec<Arg>,
    dependencies: Vec<DataId>,
    borrowed: Vec<DataId>,
    /// The references named above, held until the call has been submitted.
    held: Vec<RefCore>,
}

/// The arguments of a call, ready to be submitted.
pub(crate) struct Arguments {
    pub(crate) backend: BackendProxy,
    pub(crate) args: Vec<Arg>,
    pub(crate) dependencies: Vec<DataId>,
    pub(crate) borrowed: Vec<DataId>,
    pub(crate) held: Vec<RefCore>,
}

impl ArgList {
    /// For `count` arguments of a call in this session; without a session every argument is ignored.
    pub(crate) fn new(session: Result<BackendProxy, Error>, count: usize) -> Self {
        let (backend, error) = match session {
            Ok(backend) => (Some(backend), None),
            Err(error) => (None, Some(error)),
        };
        ArgList {
            backend,
            error,
            args: Vec::with_capacity(count),
            dependencies: Vec::new(),
            borrowed: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Takes over arguments that were encoded before.
    pub(crate) fn prepend(&mut self, encoded: Result<&Encoded, &Error>) {
        match encoded {
            Ok(encoded) => {
                let found = &encoded.found;
                if let Some(backend) = self.backend.clone() {
                    if encoded.header.len() > INLINE_LIMIT || !found.buffers.is_empty() {
                        self.put(&backend, encoded);
                    } else {
                        self.args.push(Arg::Value(encoded.header.clone()));
                        self.borrow(&found.borrowed);
                    }
                    self.depend(&found.dependencies);
                }
            }
            Err(error) => self.fail(error.clone()),
        }
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        if self.backend.is_none() {
            return;
        }
        let encoded = serialize_context::encode(value, Role::Argument).map_err(|error| Error::Encode {
            type_name: type_name::<T>().to_owned(),
            message: error.to_string(),
        });
        self.prepend(encoded.as_ref());
    }

    fn put(&mut self, backend: &BackendProxy, encoded: &Encoded) {
        match backend.put(encoded.object()) {
            Ok(id) => {
                let object = RefCore::adopt(backend.clone(), id);
                self.args.push(Arg::Ref(id));
                self.depend(std::slice::from_ref(&object));
            }
            Err(error) => self.fail(error),
        }
    }

    fn reference(&mut self, reference: &RefCore) {
        if let Some(id) = self.checked(reference) {
            self.args.push(Arg::Ref(id));
            self.dependencies.push(id);
            self.held.push(reference.clone());
        }
    }

    fn list<'a, T: 'a>(&mut self, refs: impl Iterator<Item = &'a ObjectRef<T>>) {
        let mut ids = Vec::with_capacity(refs.size_hint().0);
        for reference in refs {
            let Some(id) = self.checked(&reference.core) else {
                return;
            };
            ids.push(id);
            self.held.push(reference.core.clone());
        }
        self.dependencies.extend_from_slice(&ids);
        self.args.push(Arg::List(ids));
    }

    fn depend(&mut self, references: &[RefCore]) {
        for reference in references {
            if let Some(id) = self.checked(reference) {
                self.dependencies.push(id);
                self.held.push(reference.clone());
            }
        }
    }

    fn borrow(&mut self, references: &[RefCore]) {
        for reference in references {
            if let Some(id) = self.checked(reference) {
                self.borrowed.push(id);
                self.held.push(reference.clone());
            }
        }
    }

    /// The id behind a reference, if it belongs to this session; else the call fails.
    fn checked(&mut self, reference: &RefCore) -> Option<DataId> {
        let backend = self.backend.as_ref()?;
        match reference.held() {
            Ok((own, id)) if own.is_same(backend) => Some(id),
            Ok((_, id)) => {
                let message = format!("object {id}, an argument, belongs to a session that has ended");
                self.fail(TaskError::new(ErrorKind::ObjectLost, message).into());
                None
            }
            Err(error) => {
                let cause = TaskError::from(error.clone());
                self.fail(TaskError::dependency("", &cause).into());
                None
            }
        }
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
        self.backend = None;
    }

    /// The arguments, or the error for which the call cannot be made.
    pub(crate) fn finish(self) -> Result<Arguments, Error> {
        match (self.backend, self.error) {
            (Some(backend), None) => Ok(Arguments {
                backend,
                args: self.args,
                dependencies: self.dependencies,
                borrowed: self.borrowed,
                held: self.held,
            }),
            (_, error) => Err(error.unwrap_or(Error::NotInitialized { call: "remote".to_owned() })),
        }
    }
}

/// What may be passed for a parameter of type `T`: the value, owned or borrowed; a ref to it; for a `Vec`, refs to its
/// items.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the remote function takes `{T}`",
    label = "expected `{T}`, `&{T}`, `ObjectRef<{T}>` or `&ObjectRef<{T}>`",
    note = "arguments of remote calls are sent by value, or as a reference to an object that holds the value"
)]
pub trait IntoArg<T> {
    #[doc(hidden)]
    fn __into_arg(self, out: &mut ArgList);
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for T {
    fn __into_arg(self, out: &mut ArgList) {
        out.value(&self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for &T {
    fn __into_arg(self, out: &mut ArgList) {
        out.value(self);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for ObjectRef<T> {
    fn __into_arg(self, out: &mut ArgList) {
        out.reference(&self.core);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<T> for &ObjectRef<T> {
    fn __into_arg(self, out: &mut ArgList) {
        out.reference(&self.core);
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<Vec<T>> for Vec<ObjectRef<T>> {
    fn __into_arg(self, out: &mut ArgList) {
        out.list(self.iter());
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<Vec<T>> for &Vec<ObjectRef<T>> {
    fn __into_arg(self, out: &mut ArgList) {
        out.list(self.iter());
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable> IntoArg<Vec<T>> for &[ObjectRef<T>] {
    fn __into_arg(self, out: &mut ArgList) {
        out.list(self.iter());
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable, const N: usize> IntoArg<Vec<T>> for [ObjectRef<T>; N] {
    fn __into_arg(self, out: &mut ArgList) {
        out.list(self.iter());
    }
}

#[diagnostic::do_not_recommend]
impl<T: Portable, const N: usize> IntoArg<Vec<T>> for &[ObjectRef<T>; N] {
    fn __into_arg(self, out: &mut ArgList) {
        out.list(self.iter());
    }
}

#[diagnostic::do_not_recommend]
impl IntoArg<String> for &str {
    fn __into_arg(self, out: &mut ArgList) {
        out.value(self);
    }
}

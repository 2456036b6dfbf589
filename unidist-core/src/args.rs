//! The arguments of a call that is being made: how each is sent. [`into_arg`](crate::into_arg) says what each may be.

use crate::object_ref::ObjectRef;
use crate::portable::Portable;
use crate::reference::RefCore;
use crate::serialize_context::{self, Encoded, Role};
use crate::session::BackendProxy;
use unidist_common::codec::{SOME_HEAD, list_head};
use unidist_common::{Arg, DataId, Error, ErrorKind, Part, TaskError};

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
        let arg = match self.send(encoded) {
            Some(Part::Bytes(bytes)) => Arg::Value(bytes),
            Some(Part::Ref(id)) => Arg::Ref(id),
            None => return,
        };
        self.args.push(arg);
    }

    /// Adds a value.
    pub(crate) fn value<T: Portable>(&mut self, value: &T) {
        if self.backend.is_some() {
            self.prepend(serialize_context::encode(value, Role::Argument).as_ref());
        }
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, text: &str) {
        if self.backend.is_some() {
            self.prepend(serialize_context::encode_text(text).as_ref());
        }
    }

    /// Adds the value of an object.
    pub(crate) fn reference(&mut self, reference: &RefCore) {
        if let Some(id) = self.hold_dependency(reference) {
            self.args.push(Arg::Ref(id));
        }
    }

    /// Adds the list of the values of these objects.
    pub(crate) fn list<'a, T: 'a>(&mut self, refs: impl Iterator<Item = &'a ObjectRef<T>>) {
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

    /// Adds a value that consists of the parts that `add` adds.
    pub(crate) fn parts(&mut self, add: impl FnOnce(&mut Parts<'_>)) {
        let mut parts = Parts { list: self, bytes: Vec::new(), parts: Vec::new() };
        add(&mut parts);
        let parts = parts.finish();
        self.args.push(Arg::Parts(parts));
    }

    /// Decides how an encoded value travels: with the call, or as an object of its own.
    fn send(&mut self, encoded: Result<&Encoded, &Error>) -> Option<Part> {
        let encoded = match encoded {
            Ok(encoded) => encoded,
            Err(error) => {
                self.fail(error.clone());
                return None;
            }
        };
        let backend = self.backend.clone()?;
        let found = &encoded.found;
        let part = if encoded.header.len() > INLINE_LIMIT || !found.buffers.is_empty() {
            self.put(&backend, encoded)?
        } else {
            self.borrow(&found.borrowed);
            Part::Bytes(encoded.header.clone())
        };
        self.depend(&found.dependencies);
        Some(part)
    }

    fn put(&mut self, backend: &BackendProxy, encoded: &Encoded) -> Option<Part> {
        match backend.put(encoded.object()) {
            Ok(id) => {
                let object = RefCore::adopt(backend.clone(), id);
                self.depend(std::slice::from_ref(&object));
                Some(Part::Ref(id))
            }
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn hold_dependency(&mut self, reference: &RefCore) -> Option<DataId> {
        let id = self.checked(reference)?;
        self.dependencies.push(id);
        self.held.push(reference.clone());
        Some(id)
    }

    fn depend(&mut self, references: &[RefCore]) {
        for reference in references {
            self.hold_dependency(reference);
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

/// An argument made of values and of objects whose values are filled in where it is decoded. Adjacent bytes are one
/// part.
pub(crate) struct Parts<'a> {
    list: &'a mut ArgList,
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

impl Parts<'_> {
    /// Adds a value.
    pub(crate) fn value<T: Portable>(&mut self, value: &T) {
        if self.list.backend.is_none() {
            return;
        }
        match self.list.send(serialize_context::encode(value, Role::Argument).as_ref()) {
            Some(Part::Bytes(bytes)) => self.bytes.extend_from_slice(&bytes),
            Some(Part::Ref(id)) => self.object(id),
            None => {}
        }
    }

    /// Adds the value of an object.
    pub(crate) fn reference<T>(&mut self, reference: &ObjectRef<T>) {
        if let Some(id) = self.list.hold_dependency(&reference.core) {
            self.object(id);
        }
    }

    /// Begins a list of this length: its items follow.
    pub(crate) fn list(&mut self, len: usize) {
        self.bytes.extend_from_slice(&list_head(len));
    }

    /// Begins a `Some`: its value follows.
    pub(crate) fn some(&mut self) {
        self.bytes.extend_from_slice(&SOME_HEAD);
    }

    fn object(&mut self, id: DataId) {
        self.flush();
        self.parts.push(Part::Ref(id));
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.parts.push(Part::Bytes(std::mem::take(&mut self.bytes).into()));
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.flush();
        self.parts
    }
}

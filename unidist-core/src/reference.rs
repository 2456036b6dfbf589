//! An untyped, counted reference to an object or an actor.

use crate::serialize_context::{self, Usage};
use crate::session::BackendProxy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use unidist_common::{DataId, Error, Result};

/// A reference to an object or an actor. All clones share one reference of the session, which is released when the last
/// clone is dropped. It may also hold the error of an object that could not be made.
#[derive(Clone)]
pub(crate) struct RefCore(Arc<State>);

enum State {
    Held { backend: BackendProxy, id: DataId },
    Failed(Error),
}

impl Drop for State {
    fn drop(&mut self) {
        if let State::Held { backend, id } = self {
            backend.release(*id);
        }
    }
}

impl RefCore {
    /// Takes over a reference that the caller holds.
    pub(crate) fn adopt(backend: BackendProxy, id: DataId) -> Self {
        RefCore(Arc::new(State::Held { backend, id }))
    }

    /// A new reference to an object that is kept alive by another one at this moment.
    pub(crate) fn borrow(backend: BackendProxy, id: DataId) -> Self {
        backend.retain(id);
        RefCore::adopt(backend, id)
    }

    /// A reference to an object that could not be made.
    pub(crate) fn failed(error: Error) -> Self {
        RefCore(Arc::new(State::Failed(error)))
    }

    /// The session and the id of the object, or the error for which it could not be made.
    pub(crate) fn held(&self) -> Result<(&BackendProxy, DataId), &Error> {
        match &*self.0 {
            State::Held { backend, id } => Ok((backend, *id)),
            State::Failed(error) => Err(error),
        }
    }

    pub(crate) fn id(&self) -> Option<DataId> {
        self.held().ok().map(|(_, id)| id)
    }

    /// Writes the reference into the value being encoded, and records it in the context.
    pub(crate) fn serialize_as<S: Serializer>(&self, usage: Usage, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            State::Held { id, .. } => {
                serialize_context::record_reference(self, usage).map_err(serde::ser::Error::custom)?;
                Wire::Held(*id).serialize(serializer)
            }
            State::Failed(error) => Wire::Failed(Box::new(error.clone())).serialize(serializer),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Held(DataId),
    Failed(Box<Error>),
}

impl<'de> Deserialize<'de> for RefCore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Held(id) => {
                if serialize_context::is_proof() {
                    return Ok(RefCore::failed(Error::InvalidArgument {
                        call: "deserialize".to_owned(),
                        message: "a ref cannot be used while the value that contains it is checked before it is sent"
                            .to_owned(),
                    }));
                }
                let backend = serialize_context::backend().map_err(serde::de::Error::custom)?;
                Ok(RefCore::borrow(backend, id))
            }
            Wire::Failed(error) => Ok(RefCore::failed(*error)),
        }
    }
}

impl PartialEq for RefCore {
    fn eq(&self, other: &Self) -> bool {
        match (self.held(), other.held()) {
            (Ok((backend, id)), Ok((other_backend, other_id))) => {
                id == other_id && backend.is_same(other_backend)
            }
            _ => Arc::ptr_eq(&self.0, &other.0),
        }
    }
}

impl Eq for RefCore {}

impl Hash for RefCore {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.id() {
            Some(id) => id.hash(state),
            None => Arc::as_ptr(&self.0).hash(state),
        }
    }
}

impl fmt::Display for RefCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.held() {
            Ok((_, id)) => id.fmt(f),
            Err(error) => write!(f, "failed: {error}"),
        }
    }
}

impl fmt::Debug for RefCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

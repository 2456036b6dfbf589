//! The context of encoding and decoding on this thread: it collects the references and large buffers of a value while
//! serde encodes it, and supplies them while serde decodes it.

use crate::portable::Portable;
use crate::reference::RefCore;
use crate::session::{self, BackendProxy};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use unidist_common::codec::{self, CodecError, Record};
use unidist_common::{DataId, Error, Object, Payload, Result};

/// The use of an encoded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An argument, which can have dependencies; their values are sent with the call.
    Argument,
    /// An object, which only keeps alive what it refers to.
    Object,
}

/// How the receiver uses a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// As a reference.
    Reference,
    /// As the value it refers to.
    Value,
}

/// An encoded value and what was extracted from it.
pub(crate) struct Encoded {
    pub(crate) header: Bytes,
    pub(crate) found: Extracted,
}

/// The references and buffers of an encoded value.
pub(crate) struct Extracted {
    role: Role,
    pub(crate) dependencies: Vec<RefCore>,
    pub(crate) borrowed: Vec<RefCore>,
    pub(crate) buffers: Vec<Bytes>,
    /// Each shared slice, while the value is encoded to be proven.
    slices: Option<Vec<Bytes>>,
    /// Why memory for a large part could not be had.
    failure: Option<Error>,
}

impl Extracted {
    fn new(role: Role) -> Self {
        Extracted {
            role,
            dependencies: Vec::new(),
            borrowed: Vec::new(),
            buffers: Vec::new(),
            slices: None,
            failure: None,
        }
    }
}

impl Encoded {
    /// The value as an object. The references in `found` must be held until the receiver has its own.
    pub(crate) fn object(&self) -> Object {
        let found = &self.found;
        let borrowed = found.borrowed.iter().chain(&found.dependencies);
        Object {
            payload: Payload { header: self.header.clone(), buffers: found.buffers.clone() },
            borrowed: borrowed.filter_map(RefCore::id).collect(),
        }
    }
}

thread_local! {
    /// References of the results of this thread's calls, until their receivers have their own.
    static HELD_REFS: Cell<Vec<RefCore>> = const { Cell::new(Vec::new()) };
    static ENCODING: RefCell<Option<Extracted>> = const { RefCell::new(None) };
    static DECODING: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// Restores a thread's slot on drop, also when the user's `Serialize` panics.
struct Restore<T: 'static> {
    slot: &'static std::thread::LocalKey<RefCell<Option<T>>>,
    outer: Option<T>,
}

impl<T> Restore<T> {
    fn replace(slot: &'static std::thread::LocalKey<RefCell<Option<T>>>, value: T) -> Self {
        Restore { slot, outer: slot.replace(Some(value)) }
    }

    fn take(&mut self) -> Option<T> {
        self.slot.take()
    }
}

impl<T> Drop for Restore<T> {
    fn drop(&mut self) {
        let inner = self.slot.replace(self.outer.take());
        drop(inner);
    }
}

/// Encodes a value and collects its references and buffers.
///
/// The first value of its type in this process, and the first with a part that is new, is decoded as well, to see that
/// its receiver gets the same value.
///
/// # Errors
///
/// The value cannot be encoded, or would be decoded as another one.
#[inline]
pub(crate) fn encode<T: Portable>(value: &T, role: Role) -> Result<Encoded> {
    let mut slot = Restore::replace(&ENCODING, Extracted::new(role));
    match codec::encode_proven(value, Some(&hold_part)) {
        Ok(Some(header)) => {
            let found = slot.take().unwrap_or_else(|| Extracted::new(role));
            Ok(Encoded { header, found })
        }
        Ok(None) => {
            drop(slot);
            encode_and_prove(value, role)
        }
        Err(error) => Err(failure(slot.take(), || cannot_encode::<T>(&error))),
    }
}

#[cold]
fn failure(found: Option<Extracted>, encoding: impl FnOnce() -> Error) -> Error {
    found.and_then(|found| found.failure).unwrap_or_else(encoding)
}

#[cold]
fn encode_and_prove<T: Portable>(value: &T, role: Role) -> Result<Encoded> {
    let extracted = Extracted { slices: Some(Vec::new()), ..Extracted::new(role) };
    let mut slot = Restore::replace(&ENCODING, extracted);
    let recorded = codec::encode_recorded(value);
    let mut found = slot.take().unwrap_or_else(|| Extracted::new(role));
    drop(slot);
    let slices = found.slices.take().unwrap_or_default();
    recorded
        .and_then(|(header, record)| {
            prove::<T>(&record, &header, slices)?;
            Ok(Encoded { header, found })
        })
        .map_err(|error| cannot_encode::<T>(&error))
}

/// Decodes a value where it was encoded, without a request to the session: its refs are failed ones.
fn prove<T: Deserialize<'static> + 'static>(
    record: &Record,
    header: &[u8],
    slices: Vec<Bytes>,
) -> Result<(), CodecError> {
    let context = Context { proof: Some(RefCell::new(slices.into_iter())), ..Context::default() };
    let _context = Restore::replace(&DECODING, context);
    // A panic of the type's `Deserialize` is left to the receiver, like an error of its own.
    catch_unwind(AssertUnwindSafe(|| record.prove::<T>(header))).unwrap_or(Ok(()))
}

/// The encoding of an error value, if it can be sent: refs in it cannot.
pub(crate) fn encode_error<E: Serialize + Deserialize<'static> + 'static>(
    error: &E,
) -> Result<Bytes, CodecError> {
    if let Some(bytes) = codec::encode_proven(error, None)? {
        return Ok(bytes);
    }
    let (bytes, record) = codec::encode_recorded(error)?;
    prove::<E>(&record, &bytes, Vec::new())?;
    Ok(bytes)
}

/// Encodes a text.
pub(crate) fn encode_text(text: &str) -> Result<Encoded> {
    let mut slot = Restore::replace(&ENCODING, Extracted::new(Role::Argument));
    let header = codec::encode_holding(text, &hold_part);
    let found = slot.take();
    match header {
        Ok(header) => Ok(Encoded { header, found: found.unwrap_or_else(|| Extracted::new(Role::Argument)) }),
        Err(error) => Err(failure(found, || cannot_encode::<str>(&error))),
    }
}

#[cold]
fn cannot_encode<T: ?Sized>(error: &CodecError) -> Error {
    Error::Encode { type_name: type_name::<T>().to_owned(), message: error.to_string() }
}

/// An encoded result as an object. The references in it are held until [`take_held_refs`].
pub(crate) fn into_result(encoded: Encoded) -> Object {
    let object = encoded.object();
    let mut held = HELD_REFS.take();
    held.extend(encoded.found.borrowed);
    held.extend(encoded.found.dependencies);
    HELD_REFS.set(held);
    object
}

/// The references held for results, to be dropped once the receivers have their own.
pub(crate) fn take_held_refs() -> Vec<RefCore> {
    HELD_REFS.take()
}

/// Whether any references are held for results.
pub(crate) fn has_held_refs() -> bool {
    let held = HELD_REFS.take();
    let any = !held.is_empty();
    HELD_REFS.set(held);
    any
}

/// Records a reference in the value being encoded.
pub(crate) fn record_reference(reference: &RefCore, usage: Usage) -> Result<(), &'static str> {
    ENCODING.with_borrow_mut(|slot| {
        let found = slot.as_mut().ok_or(
            "a ref can be encoded only as part of an argument, a result or a `put`, which keep its object alive",
        )?;
        match (usage, found.role) {
            (Usage::Value, Role::Argument) => found.dependencies.push(reference.clone()),
            _ => found.borrowed.push(reference.clone()),
        }
        Ok(())
    })
}

/// Extracts a buffer from the value being encoded, and returns its index.
pub(crate) fn extract_buffer(buffer: Bytes) -> Result<u32, &'static str> {
    ENCODING.with_borrow_mut(|slot| {
        let found = slot
            .as_mut()
            .ok_or("a shared slice can be encoded only as part of an argument, a result or a `put`")?;
        found.buffers.push(buffer);
        u32::try_from(found.buffers.len() - 1).map_err(|_| "the value contains more than 2³² shared slices")
    })
}

/// Copies a large part of the value being encoded to where it stays, and returns the index of its buffer.
fn hold_part(part: &[u8]) -> Result<Option<u32>, CodecError> {
    let Ok(backend) = session::current("encoding a value") else { return Ok(None) };
    match backend.allocate(part.len()) {
        Ok(mut buffer) => match buffer.get_mut(..part.len()) {
            Some(room) => {
                room.copy_from_slice(part);
                extract_buffer(buffer.freeze().slice(..part.len()))
                    .map(Some)
                    .map_err(serde::ser::Error::custom)
            }
            None => Ok(None),
        },
        Err(error) => {
            let cause = serde::ser::Error::custom(&error);
            ENCODING.with_borrow_mut(|slot| {
                if let Some(found) = slot.as_mut() {
                    found.failure = Some(error);
                }
            });
            Err(cause)
        }
    }
}

/// Notes a shared slice of the value being encoded, if that will be proven.
pub(crate) fn note_slice(slice: &Bytes) {
    ENCODING.with_borrow_mut(|slot| {
        if let Some(slices) = slot.as_mut().and_then(|found| found.slices.as_mut()) {
            slices.push(slice.clone());
        }
    });
}

/// The values sent with a call, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects(Option<Rc<[(DataId, Payload)]>>);

impl Objects {
    pub(crate) fn new(mut objects: Vec<(DataId, Payload)>) -> Self {
        if objects.is_empty() {
            return Objects(None);
        }
        objects.sort_unstable_by_key(|(id, _)| *id);
        Objects(Some(objects.into()))
    }

    pub(crate) fn find(&self, id: DataId) -> Option<&Payload> {
        let objects = self.0.as_deref()?;
        let place = objects.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&objects[place].1)
    }
}

/// The object that a decoded value is part of.
#[derive(Clone)]
pub(crate) enum Owner {
    /// An object that this process has a reference to.
    Reference(RefCore),
    /// A dependency, which the running call keeps alive.
    Dependency(DataId),
}

/// Supplies references and buffers to a value being decoded.
#[derive(Default)]
pub(crate) struct Context {
    /// The session that references belong to; `None`: the default one.
    backend: Option<BackendProxy>,
    objects: Objects,
    /// Each buffer with its object and its index there, in the order of extraction.
    buffers: Vec<(Owner, u32, Bytes)>,
    next_buffer: Cell<usize>,
    /// The shared slices of a value that is decoded as a proof, where it was encoded.
    proof: Option<RefCell<std::vec::IntoIter<Bytes>>>,
}

impl Context {
    /// For values sent with a call.
    pub(crate) fn of_call(objects: Objects) -> Self {
        Context { objects, ..Context::default() }
    }

    /// The same with the session that references belong to.
    pub(crate) fn of_session(mut self, backend: BackendProxy) -> Self {
        self.backend = Some(backend);
        self
    }

    /// The same with the buffers of one more object.
    pub(crate) fn with_buffers(mut self, owner: &Owner, payload: &Payload) -> Self {
        let buffers = (0..).zip(&payload.buffers);
        self.buffers.extend(buffers.map(|(index, buffer)| (owner.clone(), index, buffer.clone())));
        self
    }
}

/// Decodes a value in this context.
pub(crate) fn decode<T: DeserializeOwned>(header: &[u8], context: Context) -> Result<T, CodecError> {
    let parts: Vec<Bytes> = context.buffers.iter().map(|(_, _, buffer)| buffer.clone()).collect();
    let _context = Restore::replace(&DECODING, context);
    if parts.is_empty() {
        return codec::decode(header);
    }
    codec::decode_with(header, &|index| parts.get(next_place(index)?).map(|part| &part[..]))
}

/// The place of the next buffer, which must have this index in its object.
fn next_place(index: u32) -> Option<usize> {
    DECODING.with_borrow(|slot| {
        let context = slot.as_ref()?;
        let place = context.next_buffer.get();
        context.next_buffer.set(place + 1);
        context.buffers.get(place).is_some_and(|(_, found, _)| *found == index).then_some(place)
    })
}

/// Whether a value is decoded as a proof, where it was encoded. Then its refs are not refs of the session.
pub(crate) fn is_proof() -> bool {
    DECODING.with_borrow(|slot| slot.as_ref().is_some_and(|context| context.proof.is_some()))
}

/// The next shared slice of a value that is decoded as a proof.
pub(crate) fn next_slice_of_proof() -> Option<Bytes> {
    DECODING.with_borrow(|slot| slot.as_ref()?.proof.as_ref()?.borrow_mut().next())
}

/// The session that decoded references belong to.
pub(crate) fn backend() -> Result<BackendProxy> {
    let chosen = DECODING.with_borrow(|slot| slot.as_ref().and_then(|context| context.backend.clone()));
    match chosen {
        Some(backend) => Ok(backend),
        None => session::current("decoding a ref"),
    }
}

/// The next extracted buffer of the value being decoded; it must have this index in its object.
pub(crate) fn next_buffer(index: u32) -> Result<(RefCore, Bytes), String> {
    let found = next_place(index).and_then(|place| {
        DECODING.with_borrow(|slot| {
            let (owner, _, buffer) = slot.as_ref()?.buffers.get(place)?;
            Some((owner.clone(), buffer.clone()))
        })
    });
    match found {
        Some((Owner::Reference(reference), buffer)) => Ok((reference, buffer)),
        Some((Owner::Dependency(id), buffer)) => {
            Ok((RefCore::borrow(backend().map_err(|error| error.to_string())?, id), buffer))
        }
        None => Err(format!("the object has no buffer {index} here")),
    }
}

/// The value of the object behind `reference`: sent with the call, or fetched now.
pub(crate) fn resolve(reference: &RefCore) -> Result<Payload> {
    let (backend, id) = reference.held().map_err(Clone::clone)?;
    let objects = DECODING.with_borrow(|slot| slot.as_ref().map(|context| context.objects.clone()));
    if let Some(payload) = objects.as_ref().and_then(|objects| objects.find(id)) {
        return Ok(payload.clone());
    }
    let mut outcomes = backend.get(&[id])?;
    match outcomes.pop() {
        Some(outcome) => Ok(outcome?),
        None => Err(Error::SessionEnded { call: "get".to_owned() }),
    }
}

/// The context for decoding the value of `reference` while another value is being decoded.
pub(crate) fn context_of(reference: &RefCore, payload: &Payload) -> Context {
    let (backend, objects) = DECODING.with_borrow(|slot| match slot {
        Some(context) => (context.backend.clone(), context.objects.clone()),
        None => (None, Objects::default()),
    });
    let context = Context { backend, objects, ..Context::default() };
    context.with_buffers(&Owner::Reference(reference.clone()), payload)
}

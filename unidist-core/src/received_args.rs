//! The arguments of a call in the process that runs it.

use crate::serialize_context::{self, Context, Objects, Owner};
use serde::de::DeserializeOwned;
use std::any::type_name;
use unidist_common::{Arg, DataId, ErrorKind, Part, Payload, TaskError, codec};

/// The encoded arguments of a call, decoded one after the other.
#[doc(hidden)]
#[derive(Debug)]
pub struct ReceivedArgs {
    args: std::vec::IntoIter<Arg>,
    objects: Objects,
    taken: usize,
}

impl ReceivedArgs {
    pub(crate) fn new(args: Vec<Arg>, objects: Vec<(DataId, Payload)>) -> Self {
        ReceivedArgs { args: args.into_iter(), objects: Objects::new(objects), taken: 0 }
    }

    /// Decodes the next argument.
    ///
    /// # Errors
    ///
    /// There is no further argument, it is not a `T`, or an object that it refers to was not sent along.
    #[allow(clippy::should_implement_trait, reason = "it gives another type each time")]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<T, TaskError> {
        let place = self.taken;
        let error = |message: String| {
            TaskError::new(
                ErrorKind::Decode,
                format!("argument {place} (counted from 0) of type `{}`: {message}", type_name::<T>()),
            )
        };
        let (header, context) = self.next_encoded().map_err(error)?;
        match header {
            Header::Whole(bytes) => serialize_context::decode(&bytes, context),
            Header::Spliced(bytes) => serialize_context::decode(&bytes, context),
        }
        .map_err(|cause| error(cause.to_string()))
    }

    fn next_encoded(&mut self) -> Result<(Header, Context), String> {
        self.taken += 1;
        let context = Context::of_call(self.objects.clone());
        match self.args.next().ok_or("it was not sent with the call")? {
            Arg::Value(bytes) => Ok((Header::Whole(bytes), context)),
            Arg::Ref(id) => {
                let payload = self.find(id)?;
                let context = context.with_buffers(&Owner::Dependency(id), payload);
                Ok((Header::Whole(payload.header.clone()), context))
            }
            Arg::List(ids) => {
                let payloads = ids.iter().map(|id| self.find(*id)).collect::<Result<Vec<_>, _>>()?;
                let list = codec::splice(payloads.iter().map(|payload| &payload.header[..]));
                let context = ids.iter().zip(payloads).fold(context, |context, (id, payload)| {
                    context.with_buffers(&Owner::Dependency(*id), payload)
                });
                Ok((Header::Spliced(list), context))
            }
            Arg::Parts(parts) => self.join(&parts, context),
        }
    }

    fn join(&self, parts: &[Part], mut context: Context) -> Result<(Header, Context), String> {
        let mut bytes = Vec::new();
        for part in parts {
            match part {
                Part::Bytes(part) => bytes.extend_from_slice(part),
                Part::Ref(id) => {
                    let payload = self.find(*id)?;
                    bytes.extend_from_slice(&payload.header);
                    context = context.with_buffers(&Owner::Dependency(*id), payload);
                }
            }
        }
        Ok((Header::Spliced(bytes), context))
    }

    fn find(&self, id: DataId) -> Result<&Payload, String> {
        self.objects.find(id).ok_or_else(|| format!("the value of object {id} was not sent with the call"))
    }
}

enum Header {
    Whole(bytes::Bytes),
    Spliced(Vec<u8>),
}

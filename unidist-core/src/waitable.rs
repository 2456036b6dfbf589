//! What [`get`](crate::get()) and [`wait`](crate::wait) take: refs, and lists and tuples of them.

use crate::object_ref::ObjectRef;
use crate::reference::RefCore;

/// Refs that can be waited for: a ref, a slice, array or `Vec` of refs, a tuple (of up to six), and any nesting of
/// these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a ref, nor a list of refs",
    label = "expected `ObjectRef<T>`, `&ObjectRef<T>`, a slice, array or `Vec` of refs, a tuple of refs, or a nesting \
             of these",
    note = "the refs of an iterator: `refs(iterator)`"
)]
pub trait Waitable {
    /// The type of the values, or [`AnyValue`] if it is not known to be the same for all refs.
    type Value;
    #[doc(hidden)]
    fn __gather<'a>(&'a self, batch: &mut Batch<'a>);
}

/// The type of values whose types differ: an `ObjectRef<AnyValue>` is a ref that can be compared and waited for, but
/// not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnyValue {}

/// The refs of one call, in order.
#[doc(hidden)]
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "an implementation detail of `get` and `wait`")]
pub struct Batch<'a>(pub(crate) Vec<&'a RefCore>);

#[diagnostic::do_not_recommend]
impl<T> Waitable for ObjectRef<T> {
    type Value = T;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        batch.0.push(&self.core);
    }
}

#[diagnostic::do_not_recommend]
impl<W: Waitable + ?Sized> Waitable for &W {
    type Value = W::Value;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        (**self).__gather(batch);
    }
}

#[diagnostic::do_not_recommend]
impl<W: Waitable> Waitable for [W] {
    type Value = W::Value;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self.iter().for_each(|item| item.__gather(batch));
    }
}

#[diagnostic::do_not_recommend]
impl<W: Waitable> Waitable for Vec<W> {
    type Value = W::Value;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self[..].__gather(batch);
    }
}

#[diagnostic::do_not_recommend]
impl<W: Waitable, const N: usize> Waitable for [W; N] {
    type Value = W::Value;

    fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
        self[..].__gather(batch);
    }
}

macro_rules! tuple {
    ($($W:ident $place:tt),*) => {
        #[diagnostic::do_not_recommend]
        impl<$($W: Waitable),*> Waitable for ($($W,)*) {
            type Value = AnyValue;

            fn __gather<'a>(&'a self, batch: &mut Batch<'a>) {
                $(self.$place.__gather(batch);)*
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);

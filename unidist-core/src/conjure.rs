#![allow(unsafe_code)] // a function item travels as its type; the value, of no size, is made again here
//! Values of function types, from nothing.

/// Refuses, when it is compiled, a closure that captures variables.
#[inline(always)]
pub(crate) const fn refuse_captures<F>() {
    assert!(
        size_of::<F>() == 0,
        "a remote closure must not capture variables: use `closure!([a, b] |x: T| ...)`, which sends them, or pass them \
         as arguments"
    );
}

/// The value of a function item or of a closure without captures.
///
/// # Safety
///
/// There has been a value of this type at the call site, in this process or another one of the same build. (A closure
/// that captured a value of no size is taken for one without captures: it must not rely on such a token.)
pub(crate) unsafe fn conjure<F: Copy>() -> F {
    const { refuse_captures::<F>() };
    // SAFETY: the type has no size, so reading it reads nothing, and a dangling pointer is aligned; that the type has
    // values at all is the caller's promise.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

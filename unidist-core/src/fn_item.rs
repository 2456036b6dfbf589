#![allow(unsafe_code)] // a function item is sent as its type; its zero-sized value is made again here
//! Values of function items and of closures without captures, made from their types.

/// A compile error for a closure that captures variables.
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
/// A value of this type has existed at the call site, in this process or another one of the same build. (A closure that
/// captures a zero-sized value counts as one without captures: it must not rely on such a token.)
pub(crate) unsafe fn fn_item_value<F: Copy>() -> F {
    const { refuse_captures::<F>() };
    // SAFETY: the type is zero-sized, so the read touches no memory, and a dangling pointer is aligned; that the type
    // has values at all is the caller's promise.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

#![allow(unsafe_code)] // a table that the linker makes can be read through pointers only
//! Tables made at link time: one entry for each monomorphic use, whichever crate it is in.
//!
//! An entry is the distance from itself to a function that describes it, so a table needs no relocation. The `R` flag
//! keeps the section through `--gc-sections`, and [`Permanent`](super::Permanent) keeps it from being empty, without
//! which its start symbol would not exist. Each image (executable or shared library) has tables of its own.

use super::{Callable, Description, Metadata, NamedFunction};

/// Puts `C` into the table of callables of the image that holds this monomorphisation.
#[inline(always)]
pub(crate) fn enter_callable<C: Callable>() {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the code emits data into a section of its own and no instruction.
    unsafe {
        std::arch::asm!(
            ".pushsection unidist_callables,\"aR\",@progbits",
            ".p2align 2",
            ".long {describe} - .",
            ".popsection",
            describe = sym describe_callable::<C>,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Puts `M` into the table of what `#[remote]` says about functions.
#[inline(always)]
pub(crate) fn enter_metadata<M: Metadata>() {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: the code emits data into a section of its own and no instruction.
    unsafe {
        std::arch::asm!(
            ".pushsection unidist_metadata,\"aR\",@progbits",
            ".p2align 2",
            ".long {describe} - .",
            ".popsection",
            describe = sym describe_metadata::<M>,
            options(nomem, nostack, preserves_flags)
        );
    }
}

fn describe_callable<C: Callable>() -> Description {
    Description::of::<C>()
}

fn describe_metadata<M: Metadata>() -> NamedFunction {
    M::describe()
}

#[cfg(all(target_os = "linux", not(miri)))]
mod read {
    use super::{Description, NamedFunction};
    use crate::registry::Permanent;

    unsafe extern "C" {
        #[link_name = "__start_unidist_callables"]
        static CALLABLES_START: [i32; 0];
        #[link_name = "__stop_unidist_callables"]
        static CALLABLES_STOP: [i32; 0];
        #[link_name = "__start_unidist_metadata"]
        static METADATA_START: [i32; 0];
        #[link_name = "__stop_unidist_metadata"]
        static METADATA_STOP: [i32; 0];
    }

    pub(crate) fn callables() -> Vec<Description> {
        super::enter_callable::<Permanent>();
        // SAFETY: the linker puts these symbols around the section, whose entries `enter_callable` alone makes, each
        // the distance to a `describe_callable`.
        unsafe { read(&raw const CALLABLES_START, &raw const CALLABLES_STOP) }
    }

    pub(crate) fn metadata() -> Vec<NamedFunction> {
        super::enter_metadata::<Permanent>();
        // SAFETY: as above, with `enter_metadata` and `describe_metadata`.
        unsafe { read(&raw const METADATA_START, &raw const METADATA_STOP) }
    }

    /// # Safety
    ///
    /// Between the pointers lie the distances from themselves to functions of type `fn() -> D`.
    unsafe fn read<D>(start: *const [i32; 0], stop: *const [i32; 0]) -> Vec<D> {
        let (start, stop) = (start.cast::<i32>(), stop.cast::<i32>());
        let count = (stop.addr() - start.addr()) / size_of::<i32>();
        (0..count)
            .map(|place| {
                // SAFETY: `place` is less than the number of entries, which are aligned.
                let (entry, distance) = unsafe { (start.add(place), start.add(place).read()) };
                let address = entry.cast::<()>().wrapping_byte_offset(distance as isize);
                // SAFETY: the caller says what is there.
                let describe = unsafe { std::mem::transmute::<*const (), fn() -> D>(address) };
                describe()
            })
            .collect()
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod read {
    use super::{Description, NamedFunction};

    /// No table on this platform: every call ends with an error that says so.
    pub(crate) fn callables() -> Vec<Description> {
        Vec::new()
    }

    pub(crate) fn metadata() -> Vec<NamedFunction> {
        Vec::new()
    }
}

pub(super) use read::{callables, metadata};

#![allow(unsafe_code)] // a function that is to run before `main` is a static in a section that the loader knows
//! How a process becomes a worker.

/// In a process that was started as a worker: serves until the session ends, and never returns. In any other process:
/// returns at once.
///
/// An executable need not call this: its workers begin before `main`, or (where the platform has no hook for that) in
/// [`init`](crate::init()). A shared library does not get the hook, as it would run under the loader's lock: there,
/// this is called by the program that serves as its workers.
pub fn worker_main() {
    serve_if_worker();
}

pub(crate) fn serve_if_worker() {
    #[cfg(feature = "mpi")]
    unidist_mpi::serve_if_started(unidist_core::PROGRAM, unidist_core::session::install);
    #[cfg(all(feature = "pymp", not(feature = "mpi")))]
    unidist_pymp::serve_if_worker(unidist_core::PROGRAM, unidist_core::session::install);
}

#[cfg(all(target_os = "linux", any(feature = "mpi", feature = "pymp")))]
mod before_main {
    use libc::{PT_LOAD, c_int, c_void, dl_iterate_phdr, dl_phdr_info};

    /// Whether this code is part of the executable, not of a shared library.
    fn is_executable() -> bool {
        let mut found = false;
        // SAFETY: the callback is called before this returns, with the pointer to `found`.
        unsafe { dl_iterate_phdr(Some(look_at_first), (&raw mut found).cast()) };
        found
    }

    /// Looks for this code in the first image, which is the executable, and looks at no other.
    unsafe extern "C" fn look_at_first(image: *mut dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        let here = (serve as extern "C" fn() as *const ()).addr();
        // SAFETY: the loader gives a valid description, whose headers are an array of this length; `found` is the
        // caller's.
        let (image, found) = unsafe { (&*image, &mut *found.cast::<bool>()) };
        // SAFETY: see above.
        let segments = unsafe { std::slice::from_raw_parts(image.dlpi_phdr, usize::from(image.dlpi_phnum)) };
        *found = segments.iter().filter(|segment| segment.p_type == PT_LOAD).any(|segment| {
            let start = image.dlpi_addr.wrapping_add(segment.p_vaddr) as usize;
            here.wrapping_sub(start) < segment.p_memsz as usize
        });
        1
    }

    extern "C" fn serve() {
        if is_executable() {
            super::serve_if_worker();
        }
    }

    /// The loader calls what is in this section before `main`.
    #[used]
    // SAFETY: the section holds pointers to functions of the C calling convention that take nothing they need.
    #[unsafe(link_section = ".init_array")]
    static SERVE: extern "C" fn() = serve;
}

#![allow(unsafe_code)] // a function that runs before `main` is a static in a section of the loader
//! Turns a process into a worker.

/// Serves until the session ends, and does not return, in a process that was started as a worker. Returns at once in
/// any other process.
///
/// An executable need not call this: its workers begin before `main`, or in [`init`](crate::init()) where the platform
/// has no hook for that. A shared library has no such hook, since it would run under the loader's lock: the executable
/// of its workers must call this function.
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
        unsafe { dl_iterate_phdr(Some(check_first_image), (&raw mut found).cast()) };
        found
    }

    /// Searches for this code in the first image, which is the executable; stops there.
    unsafe extern "C" fn check_first_image(image: *mut dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
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

    /// The loader calls the functions in this section before `main`.
    #[used]
    // SAFETY: the section holds pointers to functions with the C calling convention; this one ignores its arguments.
    #[unsafe(link_section = ".init_array")]
    static SERVE: extern "C" fn() = serve;
}

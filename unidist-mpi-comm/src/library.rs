#![allow(unsafe_code)] // a call of a C library that may be made at any time
//! Which MPI this build is for, and which one was loaded.
//!
//! The crate needs nothing beyond MPI 3.1, so MPICH before 4.2 works as well as later versions.

use std::ffi::CStr;
use std::fmt;
use unidist_common::{Error, Result};

/// The versions that `mpi.h` defined when the crate was built; 0 for a constant that it does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// `OMPI_MAJOR_VERSION`.
    open_mpi_major: u32,
    /// `MPICH_NUMVERSION`: its digits are the major (1 or 2), minor (2) and further versions.
    mpich: u32,
}

/// An implementation of MPI, as far as unidist tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Open MPI of this major version.
    OpenMpi(u32),
    /// MPICH or a derivative: major and minor version if it is MPICH itself.
    Mpich(Option<(u32, u32)>),
    /// Another one.
    Other,
}

impl Library {
    /// The one that was loaded.
    pub fn loaded() -> Self {
        Self::from_version(&loaded_version())
    }

    /// Whether Open MPI 4 or an earlier version was loaded.
    pub(crate) fn is_open_mpi_4() -> bool {
        matches!(Library::loaded(), Library::OpenMpi(..5))
    }

    /// The one that reports this version string.
    fn from_version(version: &str) -> Self {
        if let Some(rest) = version.strip_prefix("Open MPI v") {
            return major_minor(rest).map_or(Library::Other, |(major, _)| Library::OpenMpi(major));
        }
        if let Some((_, rest)) = version.split_once("MPICH Version:") {
            return Library::Mpich(major_minor(rest.trim_start()));
        }
        const DERIVATIVES: [&str; 3] = ["Intel(R) MPI", "MVAPICH", "CRAY MPICH"];
        match DERIVATIVES.iter().any(|name| version.contains(name)) {
            true => Library::Mpich(None),
            false => Library::Other,
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Library::OpenMpi(major) => write!(f, "Open MPI {major}"),
            Library::Mpich(Some(_)) => f.write_str("MPICH"),
            Library::Mpich(None) | Library::Other => f.write_str("the same MPI"),
        }
    }
}

fn major_minor(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The version string of the loaded library.
pub fn loaded_version() -> String {
    let mut text = vec![0_u8; mpi::ffi::MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
    let mut len = 0;
    // SAFETY: the text has the length that MPI may write.
    unsafe { mpi::ffi::MPI_Get_library_version(text.as_mut_ptr().cast(), &mut len) };
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

fn built_for() -> Header {
    mod absent {
        #![allow(dead_code, reason = "which of these the constants of the header hide depends on the MPI")]
        pub(super) const OMPI_MAJOR_VERSION: u32 = 0;
        pub(super) const MPICH_NUMVERSION: u32 = 0;
    }
    #[allow(unused_imports, reason = "see above")]
    use absent::*;
    {
        use mpi::ffi::*; // an inner name hides an outer one
        Header { open_mpi_major: OMPI_MAJOR_VERSION, mpich: MPICH_NUMVERSION }
    }
}

/// Checks that the loaded library is the one that the program was built for. Their ABIs differ, and without this check a
/// mismatch would go unnoticed until something breaks.
///
/// # Errors
///
/// [`Error::Unsupported`], which says what to do.
pub fn check_loaded() -> Result<()> {
    match mismatch(built_for(), &loaded_version()) {
        None => Ok(()),
        Some(message) => Err(Error::Unsupported { message }),
    }
}

fn mismatch(built: Header, version: &str) -> Option<String> {
    let loaded = Library::from_version(version);
    let (wanted, same) = match built {
        Header { open_mpi_major: major @ 1.., .. } => {
            (format!("Open MPI {major}"), loaded == Library::OpenMpi(major))
        }
        Header { mpich: 1.., .. } => ("MPICH".to_owned(), matches!(loaded, Library::Mpich(_))),
        _ => return None,
    };
    let found = version.lines().next().unwrap_or_default().split(',').next().unwrap_or_default();
    (!same).then(|| {
        format!(
            "this program was built for {wanted}, but the MPI library that was loaded is `{found}`: put the library \
             folder of {wanted} into LD_LIBRARY_PATH or link with its rpath, and start the program with the `mpiexec` of \
             {wanted}"
        )
    })
}

/// What to do if MPI runs below `MPI_THREAD_SERIALIZED`.
pub(crate) fn thread_level_advice(initialised_elsewhere: bool) -> String {
    let advice = match initialised_elsewhere {
        true => {
            "the program has initialised MPI before: have it call MPI_Init_thread with MPI_THREAD_SERIALIZED or more, \
             or not at all"
        }
        false => "use an MPI that was built with support for threads",
    };
    format!("MPI does not let several threads call it, which unidist needs (MPI_THREAD_SERIALIZED): {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_MPI_4: &str = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4";
    const MPICH_5: &str = "MPICH Version:      5.0.2\nMPICH Release date: unknown";

    #[test]
    fn library_is_recognised_by_its_version_string() {
        assert_eq!(Library::from_version(OPEN_MPI_4), Library::OpenMpi(4));
        assert_eq!(Library::from_version(MPICH_5), Library::Mpich(Some((5, 0))));
        assert_eq!(Library::from_version("MPICH Version:\t3.4.2"), Library::Mpich(Some((3, 4))));
        assert_eq!(Library::from_version("Intel(R) MPI Library 2021.13 for Linux* OS"), Library::Mpich(None));
        assert_eq!(Library::from_version("Some other MPI"), Library::Other);
    }

    #[test]
    fn library_mismatch_is_refused() {
        let open_mpi_5 = Header { open_mpi_major: 5, mpich: 0 };
        let text = mismatch(open_mpi_5, OPEN_MPI_4).unwrap();
        assert!(text.contains("Open MPI 5") && text.contains("v4.1.4") && text.contains("LD_LIBRARY_PATH"));
        let mpich = Header { open_mpi_major: 0, mpich: 50_002_300 };
        assert_eq!(mismatch(mpich, MPICH_5), None);
        assert!(mismatch(mpich, OPEN_MPI_4).is_some());
        assert!(mismatch(open_mpi_5, MPICH_5).is_some());
    }

    #[test]
    fn library_of_this_build_is_accepted() {
        assert_eq!(check_loaded(), Ok(()));
        assert_ne!(Library::loaded(), Library::Other);
    }
}

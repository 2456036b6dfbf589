//! Which MPI this build was made for, and whether the one that was loaded will do.
//!
//! Nothing here needs more than MPI 3.1, so MPICH before 4.2 serves as well as later ones.

use crate::communication::{built_for, library_version};
use std::fmt;
use unidist_common::{Error, Result};

/// What `mpi.h` said when the crate was built; 0 where it said nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `OMPI_MAJOR_VERSION`.
    pub(crate) open_mpi_major: u32,
    /// `MPICH_NUMVERSION`: its digits are the major (1 or 2), minor (2) and further versions.
    pub(crate) mpich: u32,
}

/// An MPI, as far as it matters how it is asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// Open MPI of this major version.
    OpenMpi(u32),
    /// MPICH and what is made from it: major and minor version, where it is MPICH itself.
    Mpich(Option<(u32, u32)>),
    /// One that is not known.
    Other,
}

impl Library {
    /// The one that was loaded.
    pub(crate) fn loaded() -> Self {
        Self::of(&library_version())
    }

    /// The one that says this of itself.
    fn of(version: &str) -> Self {
        if let Some(rest) = version.strip_prefix("Open MPI v") {
            return numbers(rest).map_or(Library::Other, |(major, _)| Library::OpenMpi(major));
        }
        if let Some((_, rest)) = version.split_once("MPICH Version:") {
            return Library::Mpich(numbers(rest.trim_start()));
        }
        let made_from_mpich = ["Intel(R) MPI", "MVAPICH", "CRAY MPICH"];
        match made_from_mpich.iter().any(|name| version.contains(name)) {
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

fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether a library that says this of itself is the one that the build was made for. What the two call by the same
/// name lies elsewhere and looks otherwise in another one, which would go unnoticed until something breaks.
///
/// # Errors
///
/// [`Error::Unsupported`], with what to do.
pub(crate) fn check(version: &str) -> Result<()> {
    match mismatch(built_for(), version) {
        None => Ok(()),
        Some(message) => Err(Error::Unsupported { message }),
    }
}

fn mismatch(built: Header, version: &str) -> Option<String> {
    let loaded = Library::of(version);
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

/// What to do where MPI does not let threads take turns.
pub(crate) fn level_advice(initialised_elsewhere: bool) -> String {
    let advice = match initialised_elsewhere {
        true => {
            "the program has initialised MPI before: have it call MPI_Init_thread with MPI_THREAD_SERIALIZED or more, \
             or not at all"
        }
        false => "use an MPI that was built with support of threads",
    };
    format!("MPI does not let threads take turns, which unidist needs (MPI_THREAD_SERIALIZED): {advice}")
}

/// What is wrong where the launcher has started so many processes and MPI knows of this one alone.
pub(crate) fn alone_advice(library: Library, started: usize) -> String {
    format!(
        "the launcher has started {started} processes, but to MPI this one is alone: the launcher is of another MPI: start \
         the program with the `mpiexec` of {library} (`srun` needs the `--mpi` that it was built for: `srun --mpi=list`)"
    )
}

/// What has to be set before an MPI that says this of itself can start processes; none if nothing is missing. What is
/// set tells `variable`.
pub(crate) fn missing_to_spawn(version: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    if !version.contains("Intel(R) MPI") {
        return None;
    }
    const OFF: [&str; 5] = ["", "0", "no", "off", "disable"];
    let spawn = variable("I_MPI_SPAWN").unwrap_or_default().to_ascii_lowercase();
    let on = !OFF.contains(&spawn.as_str());
    // With fabrics that were named it can, whatever else is set.
    (!on && variable("I_MPI_FABRICS").is_none()).then(|| {
        "Intel MPI starts processes on other hosts only with I_MPI_SPAWN=on, and crashes without: set it, or use SPMD \
         mode (UNIDIST_MPI_SPAWN=false)"
            .to_owned()
    })
}

/// How an MPI is told which network to use.
pub(crate) fn network_advice(library: Library) -> &'static str {
    match library {
        Library::OpenMpi(..5) => {
            "no firewall between them, and where there are several networks, the right one in OMPI_MCA_btl_tcp_if_include \
             and OMPI_MCA_oob_tcp_if_include"
        }
        Library::OpenMpi(_) => {
            "no firewall between them, and where there are several networks, the right one in OMPI_MCA_btl_tcp_if_include \
             and PRTE_MCA_prte_if_include"
        }
        Library::Mpich(_) | Library::Other => {
            "no firewall between them, and where there are several networks, the right one by `mpiexec -iface` and in \
             UCX_NET_DEVICES or FI_TCP_IFACE"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_MPI_4: &str = "Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4";
    const MPICH_5: &str = "MPICH Version:      5.0.2\nMPICH Release date: unknown";

    #[test]
    fn libraries_are_told_apart() {
        assert_eq!(Library::of(OPEN_MPI_4), Library::OpenMpi(4));
        assert_eq!(Library::of(MPICH_5), Library::Mpich(Some((5, 0))));
        assert_eq!(Library::of("MPICH Version:\t3.4.2"), Library::Mpich(Some((3, 4))));
        assert_eq!(Library::of("Intel(R) MPI Library 2021.13 for Linux* OS"), Library::Mpich(None));
        assert_eq!(Library::of("Some other MPI"), Library::Other);
    }

    #[test]
    fn another_library_is_refused() {
        let open_mpi_5 = Header { open_mpi_major: 5, mpich: 0 };
        let text = mismatch(open_mpi_5, OPEN_MPI_4).unwrap();
        assert!(text.contains("Open MPI 5") && text.contains("v4.1.4") && text.contains("LD_LIBRARY_PATH"));
        let mpich = Header { open_mpi_major: 0, mpich: 50_002_300 };
        assert_eq!(mismatch(mpich, MPICH_5), None);
        assert!(mismatch(mpich, OPEN_MPI_4).is_some());
        assert!(mismatch(open_mpi_5, MPICH_5).is_some());
    }

    #[test]
    fn advice_is_in_the_words_of_the_mpi() {
        let text = alone_advice(Library::of(OPEN_MPI_4), 4);
        assert!(text.contains("4 processes") && text.contains("`mpiexec` of Open MPI 4"), "{text}");
        assert!(alone_advice(Library::of(MPICH_5), 2).contains("`mpiexec` of MPICH"));
        assert!(network_advice(Library::OpenMpi(4)).contains("oob_tcp_if_include"));
        assert!(network_advice(Library::OpenMpi(5)).contains("prte_if_include"));
        assert!(network_advice(Library::Mpich(None)).contains("-iface"));
    }

    #[test]
    fn intel_mpi_has_to_be_told_that_it_will_spawn() {
        let intel = "Intel(R) MPI Library 2021.18 for Linux* OS";
        let missing = |version, set: &[(&str, &str)]| {
            let value =
                |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
            missing_to_spawn(version, value).is_some()
        };
        assert!(missing(intel, &[]));
        assert!(missing(intel, &[("I_MPI_SPAWN", "Off")]));
        assert!(!missing(intel, &[("I_MPI_SPAWN", "on")]));
        assert!(!missing(intel, &[("I_MPI_FABRICS", "shm:ofi")]));
        assert!(!missing(OPEN_MPI_4, &[]));
    }

    #[test]
    fn the_library_of_these_tests_is_the_right_one() {
        assert_eq!(check(&library_version()), Ok(()));
        assert_ne!(Library::loaded(), Library::Other);
    }
}

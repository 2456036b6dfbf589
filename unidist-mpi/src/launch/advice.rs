//! What to do when MPI cannot start or connect processes.

use unidist_mpi_comm::Library;

/// The launcher started several processes, but MPI knows only this one.
pub(crate) fn alone_advice(library: Library, started: usize) -> String {
    format!(
        "the launcher started {started} processes, but MPI sees only this one, so the launcher belongs to another MPI: start \
         the program with the `mpiexec` of {library} (`srun` needs the `--mpi` that it was built for: `srun --mpi=list`)"
    )
}

/// What must be set before the MPI with this version string can spawn processes; `None` if nothing is missing. `variable`
/// reads the environment.
pub(super) fn missing_to_spawn(version: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    if !version.contains("Intel(R) MPI") {
        return None;
    }
    const OFF: [&str; 5] = ["", "0", "no", "off", "disable"];
    let spawn = variable("I_MPI_SPAWN").unwrap_or_default().to_ascii_lowercase();
    let on = !OFF.contains(&spawn.as_str());
    // With explicit fabrics it can spawn, whatever else is set.
    (!on && variable("I_MPI_FABRICS").is_none()).then(|| {
        "Intel MPI starts processes on other hosts only with I_MPI_SPAWN=on, and crashes otherwise: set it, or use SPMD \
         mode (UNIDIST_MPI_SPAWN=false)"
            .to_owned()
    })
}

/// What MPI needs to connect the hosts, and how to select the network.
pub(crate) fn network_advice(library: Library) -> &'static str {
    match library {
        Library::OpenMpi(..5) => {
            "no firewall between them, and with several networks, the right one in OMPI_MCA_btl_tcp_if_include and \
             OMPI_MCA_oob_tcp_if_include"
        }
        Library::OpenMpi(_) => {
            "no firewall between them, and with several networks, the right one in OMPI_MCA_btl_tcp_if_include and \
             PRTE_MCA_prte_if_include"
        }
        Library::Mpich(_) | Library::Other => {
            "no firewall between them, and with several networks, the right one by `mpiexec -iface` and in UCX_NET_DEVICES or \
             FI_TCP_IFACE"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_uses_the_terms_of_the_mpi() {
        let text = alone_advice(Library::OpenMpi(4), 4);
        assert!(text.contains("4 processes") && text.contains("`mpiexec` of Open MPI 4"), "{text}");
        assert!(alone_advice(Library::Mpich(Some((5, 0))), 2).contains("`mpiexec` of MPICH"));
        assert!(network_advice(Library::OpenMpi(4)).contains("oob_tcp_if_include"));
        assert!(network_advice(Library::OpenMpi(5)).contains("prte_if_include"));
        assert!(network_advice(Library::Mpich(None)).contains("-iface"));
    }

    #[test]
    fn intel_mpi_needs_a_variable_to_spawn() {
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
        assert!(!missing("Open MPI v4.1.4, package: Debian OpenMPI", &[]));
    }
}

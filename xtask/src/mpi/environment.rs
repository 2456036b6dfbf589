//! The variables to build and to run with an MPI.

use super::{Job, Kind, Mpi};
use crate::{Result, apt};
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Variables with their values.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// The separator in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\u{1f}";

impl Mpi {
    /// For cargo: the MPI, its own target directory, and an rpath, since libraries of other MPIs may have the same name.
    pub(crate) fn build_environment(&self) -> Result<Environment> {
        let given = std::env::var("RUSTFLAGS").unwrap_or_default();
        let mut flags: Vec<&str> = given.split_whitespace().collect();
        let rpath = self.lib.to_str().map(|lib| format!("link-arg=-Wl,-rpath,{lib}"));
        let rpath = rpath.ok_or("a path is not valid UTF-8")?;
        flags.extend(["-C", &rpath]);
        let mut environment = vec![
            ("MPICC", self.bin.join("mpicc").into_os_string()),
            ("CARGO_TARGET_DIR", self.target.clone().into_os_string()),
            ("CARGO_ENCODED_RUSTFLAGS", flags.join(SEPARATOR).into()),
        ];
        environment.extend(self.common_environment()?);
        Ok(environment)
    }

    /// For mpiexec and for programs started without it. All runs on one machine, so the slow probing for fast networks is
    /// disabled.
    pub(crate) fn run_environment(&self, job: &Job) -> Result<Environment> {
        let mut environment = self.common_environment()?;
        environment.push(("LD_LIBRARY_PATH", prepend(&self.lib, "LD_LIBRARY_PATH")?));
        let mut set = |name, value: &str| environment.push((name, value.into()));
        if matches!(self.kind, Kind::OpenMpi4 | Kind::OpenMpi5) && apt::is_root() {
            set("OMPI_ALLOW_RUN_AS_ROOT", "1");
            set("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
            set("PRTE_ALLOW_RUN_AS_ROOT", "1");
            set("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        }
        let agent = job
            .agent
            .as_deref()
            .map(|agent| agent.to_str().ok_or("a path is not valid UTF-8"))
            .transpose()?;
        match self.kind {
            Kind::OpenMpi4 => {
                set("OMPI_MCA_pml", "ob1");
                set("OMPI_MCA_btl", "self,vader,tcp");
                set("OMPI_MCA_rmaps_base_oversubscribe", "1");
                if let Some(agent) = agent {
                    set("OMPI_MCA_plm_rsh_agent", agent);
                    set("OMPI_MCA_btl_tcp_if_include", "eth0");
                    set("OMPI_MCA_oob_tcp_if_include", "eth0");
                    // The two daemons of a virtual host share the file of the machine's topology, and one may end by
                    // SIGSEGV while writing it.
                    set("OMPI_MCA_rtc_hwloc_vmhole", "none");
                }
            }
            Kind::OpenMpi5 => {
                set("OMPI_MCA_pml", "ob1");
                set("OMPI_MCA_btl", "self,sm,tcp");
                set("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
                if let Some(agent) = agent {
                    set("PRTE_MCA_plm_ssh_agent", agent);
                    set("PRTE_MCA_prte_if_include", "eth0");
                    set("OMPI_MCA_btl_tcp_if_include", "eth0");
                }
            }
            Kind::Mpich => {}
            Kind::Intel => {
                set("I_MPI_FABRICS", "shm:ofi");
                set("FI_PROVIDER", "tcp");
                set("I_MPI_PIN", "0");
            }
        }
        Ok(environment)
    }

    /// The variable for the folder of temporary files, if jobs must not share one: a job of Open MPI that ends may remove a
    /// folder that another has just created.
    pub(crate) fn temporary_folder_variable(&self) -> Option<&'static str> {
        match self.kind {
            Kind::OpenMpi4 => Some("OMPI_MCA_orte_tmpdir_base"),
            Kind::OpenMpi5 => Some("PRTE_MCA_prte_tmpdir_base"),
            Kind::Mpich | Kind::Intel => None,
        }
    }

    fn common_environment(&self) -> Result<Environment> {
        let mut environment = vec![("PATH", prepend(&self.bin, "PATH")?)];
        if self.kind == Kind::Intel {
            let prefix = self.bin.parent().unwrap_or(&self.bin);
            environment.push(("I_MPI_ROOT", prefix.into()));
        }
        Ok(environment)
    }
}

/// The value of a path variable with this folder first.
fn prepend(folder: &Path, variable: &str) -> Result<OsString> {
    let given = std::env::var_os(variable).unwrap_or_default();
    let others =
        std::env::split_paths(&given).filter(|other| other.as_os_str() != OsStr::new("") && other != folder);
    Ok(std::env::join_paths(std::iter::once(folder.to_owned()).chain(others))?)
}

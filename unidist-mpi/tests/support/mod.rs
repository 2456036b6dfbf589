//! How tests that are programs of several ranks start themselves.

use std::process::{Command, ExitCode};

/// Starts this program on this host, once for each number of ranks, with these settings.
pub(crate) fn start_myself(ranks: &[u32], settings: &[(&str, &str)]) -> ExitCode {
    let version = Command::new("mpiexec").arg("--version").output().unwrap().stdout;
    let is_hydra = String::from_utf8_lossy(&version).contains("HYDRA");
    for ranks in ranks {
        let mut command = Command::new("mpiexec");
        command.args(["-n", &ranks.to_string()]).arg(std::env::current_exe().unwrap());
        command.envs(settings.iter().copied());
        for name in ["OMPI", "PRTE"] {
            command.env(format!("{name}_ALLOW_RUN_AS_ROOT"), "1");
            command.env(format!("{name}_ALLOW_RUN_AS_ROOT_CONFIRM"), "1");
        }
        if !is_hydra {
            command.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
            command.env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
        }
        if !command.status().unwrap().success() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

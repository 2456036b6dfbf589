//! What the MPI launcher says in the environment.

/// Whether an MPI launcher started this process. A batch system does not count: it sets its variables for everything that
/// it starts.
pub fn under_launcher() -> bool {
    const VARIABLES: [&str; 6] =
        ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_FD", "PMI_PORT", "PMIX_RANK", "MPI_LOCALNRANKS"];
    VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
}

/// Whether the launcher keeps a job alive when one of its processes dies, as far as it says so.
pub fn survives_process_death() -> bool {
    let value = std::env::var("OMPI_MCA_orte_enable_recovery").unwrap_or_default();
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "t" | "y")
}

/// How many processes the launcher started, if it says so.
pub fn job_size() -> Option<usize> {
    const VARIABLES: [&str; 4] =
        ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];
    let read = |name: &&str| std::env::var(name).ok()?.parse().ok();
    under_launcher().then(|| VARIABLES.iter().find_map(read)).flatten()
}

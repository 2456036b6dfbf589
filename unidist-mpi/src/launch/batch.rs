//! The hosts that a batch system has allocated to the job.

use super::{lists, unreadable};
use unidist_common::Result;
use unidist_config::HostName;

/// The hosts of the job; none outside a job.
pub(super) fn hosts() -> Result<Vec<HostName>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let file = |name: &str| {
        let path = variable(name)?;
        Some(std::fs::read_to_string(&path).map_err(|error| unreadable(&format!("{name}={path}"), error)))
    };
    if let Some(list) = variable("SLURM_JOB_NODELIST") {
        return Ok(lists::slurm(&list));
    }
    if let Some(text) = file("PBS_NODEFILE") {
        return Ok(lists::repeated(&text?));
    }
    if let Some(list) = variable("LSB_MCPU_HOSTS") {
        return Ok(lists::pairs(&list, false));
    }
    if let Some(text) = file("PE_HOSTFILE") {
        return Ok(lists::pairs(&text?, true));
    }
    Ok(Vec::new())
}

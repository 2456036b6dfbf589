//! The resources of the machine, and whether they suffice for a call.

use std::collections::BTreeMap;
use unidist_backend::ClusterInfo;
use unidist_common::{ErrorKind, Target, TaskError, TaskSpec, amount_in_words};
use unidist_config::Settings;

pub(crate) const LOCAL_IP: &str = "127.0.0.1";
const CPU: &str = "CPU";

/// The one host of the session.
#[derive(Debug)]
pub(crate) struct Host {
    resources: BTreeMap<String, f64>,
}

impl Host {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut resources = settings.host_resources();
        resources.insert(CPU.to_owned(), settings.cpus.get() as f64);
        Host { resources }
    }

    /// The number of CPU slots.
    pub(crate) fn cpus(&self) -> usize {
        self.resources.get(CPU).map_or(1, |cpus| *cpus as usize)
    }

    /// Removes a CPU slot.
    pub(crate) fn drop_cpu(&mut self) {
        if let Some(cpus) = self.resources.get_mut(CPU) {
            *cpus -= 1.0;
        }
    }

    pub(crate) fn cluster(&self) -> ClusterInfo {
        ClusterInfo {
            local_ip: LOCAL_IP.to_owned(),
            hosts: [(LOCAL_IP.to_owned(), self.resources.clone())].into(),
        }
    }

    /// Whether this host can ever run the call. Calls run one at a time, so each may use everything.
    pub(crate) fn check(&self, spec: &TaskSpec) -> Result<(), TaskError> {
        if matches!(spec.target, Target::Actor(_)) {
            return Ok(()); // it runs where the actor is
        }
        let cpus = spec.options.num_cpus.map(|amount| (CPU, amount));
        let wanted = cpus.into_iter().chain(spec.options.requested_resources());
        let mut missing = Vec::new();
        for (name, amount) in wanted {
            if !(amount.is_finite() && amount >= 0.0) {
                let message =
                    format!("{amount} of `{name}`: an amount must be a finite number that is not negative");
                return Err(TaskError::new(ErrorKind::InvalidOption, message));
            }
            let there = self.resources.get(name).copied().unwrap_or(0.0);
            if amount > there {
                let (amount, there) = (amount_in_words(name, amount), amount_in_words(name, there));
                missing.push(format!("{amount} of `{name}` (there is {there})"));
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(TaskError::new(ErrorKind::Unsatisfiable, missing.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{settings, task};
    use std::sync::Arc;
    use unidist_common::{DataId, ProcessId, TaskOptions};

    fn check(num_cpus: Option<f64>, resources: &[(&str, f64)]) -> Result<(), TaskError> {
        let mut spec = task(DataId::new(ProcessId::CONTROLLER, 1), 0);
        spec.options = Arc::new(TaskOptions {
            num_cpus,
            resources: resources.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect(),
            ..TaskOptions::default()
        });
        Host::new(&settings()).check(&spec)
    }

    #[test]
    fn available_resources_satisfy() {
        assert_eq!(check(None, &[]), Ok(()));
        assert_eq!(check(Some(2.0), &[("gpu", 1.0)]), Ok(()));
        assert_eq!(check(Some(0.0), &[("anything", 0.0)]), Ok(()));
    }

    #[test]
    fn missing_resources_are_named() {
        let error = check(Some(3.0), &[("gpu", 1.5), ("tpu", 1.0)]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsatisfiable);
        assert_eq!(
            error.message,
            "3 of `CPU` (there is 2), 1.5 of `gpu` (there is 1), 1 of `tpu` (there is 0)"
        );
    }

    #[test]
    fn impossible_amount_is_an_invalid_option() {
        for amount in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(check(Some(amount), &[]).unwrap_err().kind, ErrorKind::InvalidOption);
        }
    }
}

//! Cases and their options.

use crate::environment::Environment;

/// The result of a case: an error or a panic fails it.
pub(crate) type Result<T = (), E = unidist::Error> = std::result::Result<T, E>;

/// The names of the backends, as `UNIDIST_BACKEND` takes them.
pub(crate) const PYSEQ: &str = "pyseq";
pub(crate) const PYMP: &str = "pymp";

pub(crate) const MPI: &str = "mpi";

/// The backends of this build that are tested by default.
pub(crate) const DEFAULT: &[&str] = if cfg!(feature = "pymp") { &[PYSEQ, PYMP] } else { &[PYSEQ] };
/// The backends that are tested on request.
pub(crate) const ON_DEMAND: &[&str] = if cfg!(feature = "mpi") { &[MPI] } else { &[] };

/// One case: a program that tests one promise.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Result,
    /// The backend that it applies to, with similar ones; `None` for all.
    pub(crate) backend: Option<&'static str>,
    /// Whether it needs several hosts (`Some(true)`) or one (`Some(false)`).
    pub(crate) several_hosts: Option<bool>,
    /// Whether it starts several sessions, or sets the number of workers.
    pub(crate) is_not_spmd: bool,
    /// A backend that it does not apply to.
    pub(crate) except: Option<&'static str>,
    /// Whether it starts and ends its sessions itself.
    pub(crate) is_bare: bool,
    /// Whether it changes its session for later cases.
    pub(crate) is_alone: bool,
    /// Settings, in addition to the backend and two CPUs.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// Why it is skipped: the defect that it shows. `--ignored` runs it.
    pub(crate) ignored: Option<&'static str>,
}

impl Case {
    pub(crate) const fn new(group: &'static str, name: &'static str, run: fn() -> Result) -> Self {
        Case {
            group,
            name,
            run,
            backend: None,
            several_hosts: None,
            is_not_spmd: false,
            except: None,
            is_bare: false,
            is_alone: false,
            settings: &[],
            ignored: None,
        }
    }

    /// Applies only to this backend. Cases for `pymp` also apply to `mpi`, which has the same engine.
    pub(crate) const fn only(mut self, backend: &'static str) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Needs several hosts.
    pub(crate) const fn several_hosts(mut self) -> Self {
        self.several_hosts = Some(true);
        self
    }

    /// Needs exactly one host.
    pub(crate) const fn one_host(mut self) -> Self {
        self.several_hosts = Some(false);
        self
    }

    /// Starts several sessions, or sets the number of workers. Ranks started by a launcher serve one session, and their
    /// number is fixed.
    pub(crate) const fn not_spmd(mut self) -> Self {
        self.is_not_spmd = true;
        self
    }

    /// Does not apply to this backend.
    #[allow(dead_code, reason = "an option for the tables, currently unused")]
    pub(crate) const fn except(mut self, backend: &'static str) -> Self {
        self.except = Some(backend);
        self
    }

    /// Starts and ends its sessions itself.
    pub(crate) const fn bare(mut self) -> Self {
        self.is_bare = true;
        self
    }

    /// Changes its session for later cases, for example by ending a worker.
    pub(crate) const fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Whether it can share a session with other cases.
    pub(crate) fn can_share_session(&self) -> bool {
        !self.is_bare && !self.is_alone && self.settings.is_empty() && self.ignored.is_none()
    }

    /// Needs these settings.
    pub(crate) const fn settings(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.settings = settings;
        self
    }

    /// Shows a defect that is not mended yet.
    #[allow(dead_code, reason = "an option for the tables, used while a defect is open")]
    pub(crate) const fn ignored(mut self, reason: &'static str) -> Self {
        self.ignored = Some(reason);
        self
    }

    /// Whether it applies to this backend in this environment.
    pub(crate) fn applies_to(&self, backend: &str, environment: &Environment) -> bool {
        let alike = if backend == MPI { PYMP } else { backend };
        let included = self.backend.is_none_or(|only| only == backend || only == alike);
        let fits_environment =
            self.several_hosts.is_none_or(|several| several == environment.has_several_hosts())
                && !(self.is_not_spmd && environment.is_spmd());
        included && fits_environment && self.except.is_none_or(|except| except != backend)
    }

    pub(crate) fn path(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }
}

/// The table of a group: `cases!["group": a, b.only(PYMP), ..]`, where `a` and `b` are functions. Groups that use only
/// workers, such as those of the compatibility APIs, run on one host: `cases!["group" on_one_host: ..]`.
macro_rules! cases {
    ($group:literal on_one_host: $($name:ident $(.$option:ident($($value:expr),*))*),* $(,)?) => {
        &[$($crate::case::Case::new($group, stringify!($name), $name)$(.$option($($value),*))*.one_host()),*]
    };
    ($group:literal: $($name:ident $(.$option:ident($($value:expr),*))*),* $(,)?) => {
        &[$($crate::case::Case::new($group, stringify!($name), $name)$(.$option($($value),*))*),*]
    };
}
pub(crate) use cases;

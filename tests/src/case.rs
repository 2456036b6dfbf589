//! What a case is.

use crate::place::Place;

/// What a case returns: an error fails it, and so does a panic.
pub(crate) type Result<T = (), E = unidist::Error> = std::result::Result<T, E>;

/// The names of the backends, as `UNIDIST_BACKEND` takes them.
pub(crate) const PYSEQ: &str = "pyseq";
pub(crate) const PYMP: &str = "pymp";

pub(crate) const MPI: &str = "mpi";

/// The backends of this build that trials are made for unless others are asked for.
pub(crate) const DEFAULT: &[&str] = if cfg!(feature = "pymp") { &[PYSEQ, PYMP] } else { &[PYSEQ] };
/// Those that have to be asked for.
pub(crate) const ON_DEMAND: &[&str] = if cfg!(feature = "mpi") { &[MPI] } else { &[] };

/// One promise, as a program.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) run: fn() -> Result,
    /// The backend that it concerns, with those that work alike; all if none is named.
    pub(crate) backend: Option<&'static str>,
    /// It needs several hosts (`Some(true)`), or one.
    pub(crate) several_hosts: Option<bool>,
    /// It begins several sessions, or chooses how many workers there are.
    pub(crate) is_not_spmd: bool,
    /// One that it does not concern after all.
    pub(crate) except: Option<&'static str>,
    /// Whether it starts and ends its sessions itself.
    pub(crate) is_bare: bool,
    /// It leaves its session as it was not before.
    pub(crate) is_alone: bool,
    /// Settings, beside the backend and two CPUs.
    pub(crate) settings: &'static [(&'static str, &'static str)],
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
        }
    }

    /// It concerns this backend alone. What concerns `pymp` concerns `mpi`, whose engine is the same.
    pub(crate) const fn only(mut self, backend: &'static str) -> Self {
        self.backend = Some(backend);
        self
    }

    /// It needs several hosts.
    pub(crate) const fn several_hosts(mut self) -> Self {
        self.several_hosts = Some(true);
        self
    }

    /// What it expects is true of one host alone.
    pub(crate) const fn one_host(mut self) -> Self {
        self.several_hosts = Some(false);
        self
    }

    /// It begins several sessions, or chooses how many workers there are: ranks that a launcher has started serve one,
    /// and are as many as they are.
    pub(crate) const fn not_spmd(mut self) -> Self {
        self.is_not_spmd = true;
        self
    }

    /// It does not concern this backend.
    #[allow(dead_code, reason = "a word of the tables, whether or not one of them uses it")]
    pub(crate) const fn except(mut self, backend: &'static str) -> Self {
        self.except = Some(backend);
        self
    }

    /// It starts and ends its sessions itself.
    pub(crate) const fn bare(mut self) -> Self {
        self.is_bare = true;
        self
    }

    /// It leaves its session as it was not before, for example with a worker fewer.
    pub(crate) const fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Whether it can share a session with others, one after the other.
    pub(crate) fn is_sociable(&self) -> bool {
        !self.is_bare && !self.is_alone && self.settings.is_empty()
    }

    /// It needs these settings.
    pub(crate) const fn settings(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.settings = settings;
        self
    }

    /// Whether it is run with this backend in this place.
    pub(crate) fn concerns(&self, backend: &str, place: &Place) -> bool {
        let alike = if backend == MPI { PYMP } else { backend };
        let included = self.backend.is_none_or(|only| only == backend || only == alike);
        let in_place = self.several_hosts.is_none_or(|several| several == place.has_several_hosts())
            && !(self.is_not_spmd && place.is_spmd());
        included && in_place && self.except.is_none_or(|except| except != backend)
    }

    pub(crate) fn path(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }
}

/// The table of a group: `cases!["group": a, b.only(PYMP), ..]`, where `a` and `b` are functions. Of what stands on top of
/// the rest, and knows of workers alone, one host tells enough: `cases!["group" on_one_host: ..]`.
macro_rules! cases {
    ($group:literal on_one_host: $($name:ident $(.$option:ident($($value:expr),*))*),* $(,)?) => {
        &[$($crate::case::Case::new($group, stringify!($name), $name)$(.$option($($value),*))*.one_host()),*]
    };
    ($group:literal: $($name:ident $(.$option:ident($($value:expr),*))*),* $(,)?) => {
        &[$($crate::case::Case::new($group, stringify!($name), $name)$(.$option($($value),*))*),*]
    };
}
pub(crate) use cases;

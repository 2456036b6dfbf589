//! Hosts, resources and object store of the session.

use std::collections::BTreeMap;
use unidist_core::session;
use unidist_core::{Error, Result, StoreUsage};

/// The address of the host that this process runs on.
///
/// # Errors
///
/// There is no session.
pub fn get_ip() -> Result<String> {
    Ok(session::current("get_ip")?.cluster()?.local_ip)
}

/// The total number of CPU slots of all hosts.
///
/// # Errors
///
/// There is no session.
pub fn num_cpus() -> Result<usize> {
    let hosts = session::current("num_cpus")?.cluster()?.hosts;
    let cpus: f64 = hosts.values().filter_map(|resources| resources.get("CPU")).sum();
    if !(0.0..=f64::from(u32::MAX)).contains(&cpus) {
        return Err(Error::system("cannot get the number of CPUs", format!("the backend returned {cpus}")));
    }
    Ok(cpus as usize)
}

/// The resources of each host, by address, including `CPU`.
///
/// ```
/// let _session = unidist::init()?;
/// let resources = unidist::cluster_resources()?;
/// assert!(resources[&unidist::get_ip()?]["CPU"] >= 1.0);
/// # Ok::<(), unidist::Error>(())
/// ```
///
/// # Errors
///
/// There is no session.
pub fn cluster_resources() -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    Ok(session::current("cluster_resources")?.cluster()?.hosts)
}

/// Usage of this host's object store, without small values, which travel in messages. `pyseq` has no store: all zero.
///
/// ```
/// let _session = unidist::init()?;
/// let data = unidist::put_slice(&[0_u8; 100_000])?;
/// let usage = unidist::store_usage()?;
/// assert!(usage.used <= usage.limit);
/// # drop(data);
/// # Ok::<(), unidist::Error>(())
/// ```
///
/// # Errors
///
/// There is no session.
pub fn store_usage() -> Result<StoreUsage> {
    session::current("store_usage")?.store_usage()
}

/// The number of objects and actors in the session: 0 when all refs are dropped and all work has ended. For tests.
#[doc(hidden)]
pub fn live_objects() -> Result<usize> {
    session::current("live_objects")?.live_objects()
}

//! `get_ip()`, `num_cpus()`, `cluster_resources()`.

use crate::case::{Case, Result, cases};
use std::net::IpAddr;
use unidist::prelude::*;
use unidist::{cluster_resources, get_ip, num_cpus};

pub(super) const CASES: &[Case] = cases!["cluster":
    get_ip_is_an_address, num_cpus_is_the_setting.not_spmd(), cluster_resources_have_cpus,
    cluster_is_the_same_in_tasks,
];

/// `get_ip()` is an address.
fn get_ip_is_an_address() -> Result {
    let ip = get_ip()?;
    assert!(ip.parse::<IpAddr>().is_ok(), "{ip}");
    Ok(())
}

/// `num_cpus()` is the value of `UNIDIST_CPUS`.
fn num_cpus_is_the_setting() -> Result {
    assert_eq!(num_cpus()?, 2);
    Ok(())
}

/// `cluster_resources()` is `{ip: {"CPU": n, ...}}`.
fn cluster_resources_have_cpus() -> Result {
    let hosts = cluster_resources()?;
    assert!(hosts[&get_ip()?]["CPU"] >= 1.0, "{hosts:?}");
    assert_eq!(hosts.values().map(|host| host["CPU"]).sum::<f64>(), num_cpus()? as f64);
    Ok(())
}

/// Tasks see the same.
fn cluster_is_the_same_in_tasks() -> Result {
    let seen = || -> unidist::Result<_> { Ok((get_ip()?, num_cpus()?, cluster_resources()?)) };
    let seen = get(seen.remote())?;
    assert_eq!(seen, (get_ip()?, num_cpus()?, cluster_resources()?));
    Ok(())
}

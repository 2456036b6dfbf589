//! What any network of hosts needs before a session starts: CPU slots per host, addresses that tell hosts apart, and
//! the environment of processes on other hosts.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Prefixes of the variables that processes on other hosts get from the program: settings and log filters.
const FORWARDED_PREFIXES: [&str; 2] = ["UNIDIST_", "RUST_"];

/// Spreads `slots` CPU slots over `hosts` hosts as evenly as possible; the first hosts get the remainder.
pub fn spread_cpus(slots: usize, hosts: usize) -> Vec<usize> {
    (0..hosts).map(|place| slots / hosts + usize::from(place < slots % hosts)).collect()
}

/// Replaces each address that several hosts have by the host's name. Hosts that do not know their address all report
/// that of the loopback interface.
pub fn make_addresses_distinct<'a>(hosts: impl IntoIterator<Item = (&'a str, &'a mut String)>) {
    let hosts: Vec<_> = hosts.into_iter().collect();
    let mut counts = BTreeMap::new();
    for (_, address) in &hosts {
        *counts.entry((**address).clone()).or_insert(0) += 1;
    }
    for (name, address) in hosts {
        if counts[address] > 1 {
            name.clone_into(address);
        }
    }
}

/// Whether an entry of a host list names this host: by its address, its name, or its name without the domain.
pub fn is_same_host(entry: &str, name: &str, address: &str) -> bool {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let both_qualified = entry.contains('.') && name.contains('.');
    entry == address || entry.eq_ignore_ascii_case(name) || (!both_qualified && short(entry) == short(name))
}

/// The variables of this process that workers on other hosts need: unidist's settings and the log filters.
pub fn forwarded_environment() -> Vec<(OsString, OsString)> {
    let is_forwarded =
        |name: &OsString| FORWARDED_PREFIXES.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
    std::env::vars_os().filter(|(name, _)| is_forwarded(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_slots_are_spread_evenly() {
        assert_eq!(spread_cpus(8, 3), [3, 3, 2]);
        assert_eq!(spread_cpus(2, 3), [1, 1, 0]);
        assert_eq!(spread_cpus(6, 3), [2, 2, 2]);
    }

    #[test]
    fn equal_addresses_are_replaced_by_names() {
        let mut hosts = [("a", "127.0.0.1"), ("b", "10.0.0.2"), ("c", "127.0.0.1")]
            .map(|(name, address)| (name, address.to_owned()));
        make_addresses_distinct(hosts.iter_mut().map(|(name, address)| (*name, address)));
        assert_eq!(hosts.map(|(_, address)| address), ["a", "10.0.0.2", "c"]);
    }

    #[test]
    fn host_matches_its_address_and_names() {
        assert!(is_same_host("node1", "node1.example.org", "10.0.0.1"));
        assert!(is_same_host("10.0.0.1", "node1", "10.0.0.1"));
        assert!(!is_same_host("node1.a", "node1.b", ""));
        assert!(!is_same_host("node2", "node1", ""));
    }
}

//! The formats in which launchers and batch systems list hosts.

use std::num::NonZeroUsize;
use unidist_config::HostName;

/// Hosts separated by commas, each with or without its slots: `a:4,b`.
pub(super) fn commas(text: &str) -> Vec<HostName> {
    distinct(text.split(',').filter_map(|host| HostName::parse(host.trim())))
}

/// A host file with one host on each line, as `a`, `a:4` or `a slots=4`. The first line of a host counts.
pub(super) fn lines(text: &str) -> Vec<HostName> {
    distinct(text.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let host = HostName::parse(words.next()?)?;
        let slots = words.find_map(|word| word.strip_prefix("slots=")?.parse().ok());
        Some(HostName { cpus: slots.or(host.cpus), ..host })
    }))
}

/// The node file of PBS: one line for each slot of a host.
pub(super) fn repeated(text: &str) -> Vec<HostName> {
    let mut hosts: Vec<HostName> = Vec::new();
    for name in text.split_whitespace() {
        match hosts.iter_mut().find(|host| host.name == name) {
            Some(host) => host.cpus = NonZeroUsize::new(host.cpus.map_or(1, usize::from) + 1),
            None => hosts.extend(HostName::parse(name)),
        }
    }
    hosts
}

/// Hosts and their slots alternating: `a 4 b 2` (LSF). With `more`, each line is one host, its slots and other words (SGE).
pub(super) fn pairs(text: &str, more: bool) -> Vec<HostName> {
    let host = |name: &str, slots: Option<&str>| {
        let cpus = slots.and_then(|slots| slots.parse().ok());
        HostName::parse(name).map(|host| HostName { cpus, ..host })
    };
    if more {
        let lines = text.lines().map(|line| line.split_whitespace());
        return distinct(lines.filter_map(|mut words| host(words.next()?, words.next())));
    }
    let words: Vec<_> = text.split_whitespace().collect();
    distinct(words.chunks(2).filter_map(|pair| host(pair[0], pair.get(1).copied())))
}

/// The compressed form of Slurm: `a,n[1-3,07],r[0-1]s[2,4]`.
pub(super) fn slurm(text: &str) -> Vec<HostName> {
    distinct(split_outside(text).into_iter().flat_map(expand).filter_map(|name| HostName::parse(&name)))
}

/// More hosts than any cluster has.
const MAX_RANGE: usize = 1 << 17;

/// Splits at commas outside brackets.
fn split_outside(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

/// Expands the ranges in brackets; empty if the brackets are malformed.
fn expand(part: &str) -> Vec<String> {
    let Some((before, rest)) = part.split_once('[') else { return vec![part.to_owned()] };
    let Some((inside, after)) = rest.split_once(']') else { return Vec::new() };
    let ends = expand(after);
    let mut names = Vec::new();
    for range in inside.split(',') {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (low.parse::<usize>(), high.parse::<usize>()) else { return Vec::new() };
        for number in first..=last.min(first.saturating_add(MAX_RANGE)) {
            let name = format!("{before}{number:0width$}", width = low.len());
            names.extend(ends.iter().map(|end| format!("{name}{end}")));
        }
    }
    names
}

fn distinct(hosts: impl Iterator<Item = HostName>) -> Vec<HostName> {
    let mut all: Vec<HostName> = Vec::new();
    for host in hosts {
        if all.iter().all(|other| other.name != host.name) {
            all.push(host);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hosts: &[HostName]) -> String {
        let host = |host: &HostName| match host.cpus {
            Some(cpus) => format!("{}:{cpus}", host.name),
            None => host.name.clone(),
        };
        hosts.iter().map(host).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comma_lists_and_host_files_are_read() {
        assert_eq!(text(&commas("a:4, b,a")), "a:4 b");
        let file = "# all\na slots=4 max_slots=8\n\nb:2 # two\nc\nd/e\n";
        assert_eq!(text(&lines(file)), "a:4 b:2 c");
        assert_eq!(text(&repeated("a\na\nb\na\n")), "a:3 b");
        assert_eq!(text(&pairs("a 4 b 2", false)), "a:4 b:2");
        assert_eq!(text(&pairs("a 4 all.q@a UNDEFINED\nb 2 all.q@b UNDEFINED\n", true)), "a:4 b:2");
    }

    #[test]
    fn slurm_brackets_are_expanded() {
        assert_eq!(text(&slurm("node1")), "node1");
        assert_eq!(
            text(&slurm("n[08-11,3],m1,x[1-2]y[0,4]z")),
            "n08 n09 n10 n11 n3 m1 x1y0z x1y4z x2y0z x2y4z"
        );
        for wrong in ["n[1", "n[a-b]", "", "n[-]"] {
            assert_eq!(text(&slurm(wrong)), "", "{wrong}");
        }
    }
}

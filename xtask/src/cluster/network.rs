//! Creates virtual hosts with iproute2 and util-linux.

use super::cpus;
use super::lock::folder_of;
use crate::{Result, process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Time limit for killed processes to disappear.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The names of a cluster's parts: hosts `unxa1`, `unxa2`, .., and the switch that connects them, `unxasw`.
fn host(letter: char, number: usize) -> String {
    format!("unx{letter}{number}")
}

fn switch(letter: char) -> String {
    format!("unx{letter}sw")
}

/// The number of a host of this cluster, from 1.
fn number(letter: char, name: &str) -> Option<usize> {
    name.strip_prefix("unx")?.strip_prefix(letter)?.parse().ok()
}

/// The letter of the cluster that a host with this name is part of.
pub(super) fn letter_of(name: &str) -> Option<char> {
    let letter = name.strip_prefix("unx")?.chars().next()?;
    number(letter, name).map(|_| letter)
}

/// The address of a host.
pub(super) fn address(letter: char, number: usize) -> String {
    format!("10.78.{}.{number}", u32::from(letter) - u32::from('a'))
}

/// The hosts of a cluster, in order.
pub(super) fn hosts(letter: char) -> Vec<String> {
    let mut numbers: Vec<usize> = namespaces().iter().filter_map(|name| number(letter, name)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| host(letter, number)).collect()
}

/// Creates the hosts of a cluster, and the folder with the scripts to enter them.
pub(super) fn make(letter: char, count: usize) -> Result {
    let folder = folder_of(letter);
    fs::create_dir_all(folder.join("groups"))?;
    script(&folder.join("enter"), include_str!("enter.sh"))?;
    script(&folder.join("agent"), include_str!("agent.sh"))?;
    let switch = switch(letter);
    ip(&["netns", "add", &switch])?;
    ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
    ip(&["-n", &switch, "link", "set", "br0", "up"])?;
    let names: String =
        (1..=count).map(|number| format!("{} {}\n", address(letter, number), host(letter, number))).collect();
    for number in 1..=count {
        make_host(letter, number)?;
    }
    Ok(fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{names}"))?)
}

fn make_host(letter: char, number: usize) -> Result {
    let (host, switch, port) = (host(letter, number), switch(letter), format!("v{number}"));
    let address = format!("{}/24", address(letter, number));
    ip(&["netns", "add", &host])?;
    ip(&["-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
    ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
    ip(&["-n", &host, "link", "set", "lo", "up"])?;
    ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])?;
    ip(&["-n", &host, "link", "set", "eth0", "up"])?;
    let shared_memory = shared_memory(&host)?;
    fs::create_dir_all(&shared_memory)?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "mode=1777", &host]).arg(shared_memory);
    quietly(&mut mount)
}

/// The folder that is a host's /dev/shm.
pub(super) fn shared_memory(host: &str) -> Result<PathBuf> {
    let letter = letter_of(host).ok_or_else(|| format!("{host} is not a virtual host"))?;
    Ok(folder_of(letter).join(host))
}

/// The file with the cgroup that a host's processes join.
pub(super) fn group_file(letter: char, host: &str) -> PathBuf {
    folder_of(letter).join(format!("{host}.group"))
}

/// Connects or disconnects a host, without notice: packets to and from a disconnected host are dropped.
pub(super) fn connect(host: &str, connected: bool) -> Result {
    let letter = letter_of(host).ok_or_else(|| format!("{host} is not a virtual host"))?;
    let port = format!("v{}", number(letter, host).unwrap_or_default());
    let how: &[&str] = if connected { &["master", "br0"] } else { &["nomaster"] };
    let switch = switch(letter);
    ip(&[&["-n", &switch, "link", "set", &port], how].concat())
}

/// Limits the rate towards a host, in Mbit/s; none removes the limit.
pub(super) fn throttle(host: &str, megabits: Option<u32>) -> Result {
    let letter = letter_of(host).ok_or_else(|| format!("{host} is not a virtual host"))?;
    let (switch, port) = (switch(letter), format!("v{}", number(letter, host).unwrap_or_default()));
    let words: &[&str] = match megabits {
        Some(_) => &["replace", "dev", &port, "root", "tbf", "burst", "128kb", "latency", "400ms", "rate"],
        None => &["del", "dev", &port, "root"],
    };
    let rate = megabits.map(|megabits| format!("{megabits}mbit"));
    quietly(Command::new("ip").args(["netns", "exec", &switch, "tc", "qdisc"]).args(words).args(rate))
}

/// The processes on a host.
pub(super) fn processes(host: &str) -> Vec<u32> {
    let output = Command::new("ip").args(["netns", "pids", host]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Removes all existing parts of a cluster, and kills every process on its hosts.
pub(super) fn remove(letter: char) -> Result {
    let mut wrong = Vec::new();
    let parts: Vec<String> = namespaces()
        .into_iter()
        .filter(|name| number(letter, name).is_some() || *name == switch(letter))
        .collect();
    wrong.extend(parts.iter().filter_map(|part| end_processes(part).err()));
    // The namespace goes last: a host with a remaining cgroup is found again by it.
    let remove = |part: &String| cpus::remove(part).and_then(|()| ip(&["netns", "del", part]));
    wrong.extend(parts.iter().filter_map(|part| remove(part).err()));
    let folder = folder_of(letter);
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            // Fails if nothing is mounted, after a failed creation. `remove_dir` then fails if something still is.
            let _ = quietly(Command::new("umount").arg(entry.path()));
            wrong.extend(
                fs::remove_dir(entry.path()).err().map(|e| format!("{:?}: {e}", entry.path()).into()),
            );
        }
    }
    if wrong.is_empty() && folder.exists() {
        wrong.extend(fs::remove_dir_all(&folder).err().map(Into::into));
    }
    match wrong.into_iter().next() {
        None => Ok(()),
        Some(error) => Err(format!("the virtual hosts {}: {error}", host(letter, 1)).into()),
    }
}

/// Kills the processes on a host, also those that they start meanwhile.
fn end_processes(host: &str) -> Result {
    let end = Instant::now() + GRACE;
    loop {
        let alive = processes(host);
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(format!("processes on {host} survive SIGKILL: {alive:?}").into());
        }
        alive.into_iter().for_each(process::kill);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The names of the network namespaces of this machine.
fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn ip(arguments: &[&str]) -> Result {
    quietly(Command::new("ip").args(arguments))
}

/// Runs a command; its output becomes the error if it fails.
fn quietly(command: &mut Command) -> Result {
    let words = process::words(command);
    let output = command.output().map_err(|error| format!("{words}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{words}: {}", String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

fn script(path: &Path, text: &str) -> Result {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_is_found_from_names() {
        assert_eq!(letter_of(&host('c', 12)), Some('c'));
        assert_eq!(number('c', "unxc12"), Some(12));
        for other in ["unxcsw", "ud1", "unx", "unxc", "eth0"] {
            assert_eq!(letter_of(other), None, "{other}");
        }
        assert_eq!(address('b', 3), "10.78.1.3");
    }
}

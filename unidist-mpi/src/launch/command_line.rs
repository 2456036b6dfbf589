//! The hosts on the command line of `mpiexec`.
//!
//! Neither Open MPI nor MPICH passes its list of hosts to the processes that it starts, but on the host where it was called it
//! is one of their ancestors. Its command line is read from `/proc`. MPICH splits its lists there, so that each host of a list
//! is a separate argument.

use super::start::on_path;
use super::{lists, unreadable};
use std::path::Path;
use unidist_common::Result;
use unidist_config::HostName;

/// The number of ancestors that are searched.
const MAX_ANCESTORS: usize = 8;

/// The hosts; none if the launcher is not an ancestor of this process or got no list.
pub(super) fn hosts() -> Result<Vec<HostName>> {
    let program = std::env::current_exe().unwrap_or_default();
    let mut pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    for _ in 0..MAX_ANCESTORS {
        let Some((arguments, parent)) = process(pid) else { break };
        if let Some(start) = launcher(&arguments) {
            let folder = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let list = if std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some() {
                List::OneArgument
            } else {
                List::Arguments
            };
            return match named(&arguments[start..], &program, list) {
                Some(Named::Hosts(hosts)) => Ok(hosts),
                Some(Named::File(file)) => read(&folder.join(file)),
                None => of_environment(),
            };
        }
        pid = parent;
    }
    of_environment()
}

/// The hosts of the default host file, which some launchers read.
fn of_environment() -> Result<Vec<HostName>> {
    const FILES: [&str; 4] = [
        "HYDRA_HOST_FILE",
        "I_MPI_HYDRA_HOST_FILE",
        "OMPI_MCA_orte_default_hostfile",
        "PRTE_MCA_prte_default_hostfile",
    ];
    let file = FILES.iter().find_map(|name| std::env::var_os(name).filter(|file| !file.is_empty()));
    file.map_or(Ok(Vec::new()), |file| read(Path::new(&file)))
}

fn read(file: &Path) -> Result<Vec<HostName>> {
    let text = std::fs::read_to_string(file);
    text.map(|text| lists::lines(&text)).map_err(|error| unreadable(&file.display().to_string(), error))
}

/// The arguments and the parent of a process.
fn process(pid: i32) -> Option<(Vec<String>, i32)> {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments = arguments.split(|byte| *byte == 0).map(|one| String::from_utf8_lossy(one).into_owned());
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()?;
    (parent > 0).then(|| (arguments.collect(), parent))
}

/// The index of the launcher among the arguments, if this is one; it may be a script.
fn launcher(arguments: &[String]) -> Option<usize> {
    const NAMES: [&str; 4] = ["mpiexec", "mpirun", "orterun", "prterun"];
    arguments.iter().take(2).position(|argument| {
        let name = argument.rsplit('/').next().unwrap_or_default();
        let first = name.split('.').next().unwrap_or_default();
        NAMES.contains(&first)
    })
}

#[derive(Debug, PartialEq)]
enum Named {
    Hosts(Vec<HostName>),
    File(String),
}

/// How a list of hosts appears on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    /// As one argument (Open MPI).
    OneArgument,
    /// As several arguments, up to an option or a program (MPICH).
    Arguments,
}

/// The hosts or the host file that the options name.
fn named(arguments: &[String], program: &Path, list: List) -> Option<Named> {
    const HOSTS: [&str; 3] = ["host", "hosts", "H"];
    const FILES: [&str; 5] = ["hostfile", "machinefile", "default-hostfile", "f", "machine"];
    let own = program.file_name().unwrap_or_default();
    let is_own = |argument: &str| Path::new(argument).file_name() == Some(own);
    // A wrapper program, such as `env`, may follow directly.
    let is_end = |argument: &str| argument.starts_with('-') || on_path(argument).is_some();
    let mut found = Vec::new();
    let mut rest = arguments.iter().skip(1).take_while(|argument| !is_own(argument)).peekable();
    while let Some(argument) = rest.next() {
        let Some(option) = argument.strip_prefix('-') else { continue };
        let option = option.strip_prefix('-').unwrap_or(option);
        let (option, value) =
            option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        if HOSTS.contains(&option) {
            found.extend(value.map(str::to_owned));
            let mut first = true;
            while let Some(host) =
                rest.next_if(|next| value.is_none() && (first || list == List::Arguments && !is_end(next)))
            {
                first = false;
                // A number alone followed a colon.
                match (host.parse::<usize>(), found.last_mut()) {
                    (Ok(_), Some(last)) => *last = format!("{last}:{host}"),
                    _ => found.push(host.clone()),
                }
            }
        } else if FILES.contains(&option) {
            return value.map(str::to_owned).or_else(|| rest.next().cloned()).map(Named::File);
        }
    }
    let hosts = lists::commas(&found.join(","));
    (!hosts.is_empty()).then_some(Named::Hosts(hosts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(line: &str) -> Option<String> {
        given_as(List::Arguments, line)
    }

    fn given_as(list: List, line: &str) -> Option<String> {
        let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let start = launcher(&arguments)?;
        Some(match named(&arguments[start..], Path::new("/x/app"), list)? {
            Named::File(file) => format!("file {file}"),
            Named::Hosts(hosts) => {
                let host = |host: &HostName| {
                    format!("{}{}", host.name, host.cpus.map_or(String::new(), |cpus| format!(":{cpus}")))
                };
                hosts.iter().map(host).collect::<Vec<_>>().join(",")
            }
        })
    }

    #[test]
    fn options_of_all_launchers_are_read() {
        assert_eq!(given("mpiexec --host a:2,b -n 1 ./app --host x").unwrap(), "a:2,b");
        assert_eq!(given("/opt/bin/mpirun -H a,b ./app").unwrap(), "a,b");
        assert_eq!(given("prterun --host=a,b ./app").unwrap(), "a,b");
        assert_eq!(given("mpiexec.hydra -launcher rsh -hosts a b -n 1 ./app").unwrap(), "a,b");
        assert_eq!(given("mpiexec -n 1 -hosts a 4 b ./app").unwrap(), "a:4,b");
        assert_eq!(given("bash /usr/bin/mpiexec -f nodes -n 1 ./app").unwrap(), "file nodes");
        assert_eq!(given("mpiexec --hostfile=nodes ./app").unwrap(), "file nodes");
        assert_eq!(given("mpiexec -n 2 ./app -f x"), None);
        assert_eq!(given("bash -c mpiexec.sh"), None);
    }

    #[test]
    fn wrapper_program_is_no_host() {
        assert_eq!(given("mpiexec -hosts a b env X=1 ./app").unwrap(), "a,b");
        assert_eq!(given_as(List::OneArgument, "mpiexec --host a:4,b wrapper ./app").unwrap(), "a:4,b");
        assert_eq!(given_as(List::OneArgument, "mpiexec --host a --host b wrapper ./app").unwrap(), "a,b");
    }
}

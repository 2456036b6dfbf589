//! Spawning the monitors.

use super::{Hosts, advice, slow_start_warning, under_launcher};
use crate::monitor::ARGUMENT;
use std::ffi::OsString;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_mpi_comm::{Communicator, Library, Mpi, library};

/// Finds problems that would make MPI hang or end the job instead of returning an error.
pub(crate) fn check_before_init(hosts: &Hosts) -> Result<()> {
    library::check_loaded()?; // the checks below assume the right library
    let launch = |message| Err(Error::Launch { message });
    for host in &hosts.further {
        if let Err(error) = (host.name.as_str(), 0).to_socket_addrs() {
            return launch(format!(
                "the host `{}` is unknown on this host ({error}): correct UNIDIST_MPI_HOSTS, or the list that the MPI launcher got",
                host.name
            ));
        }
    }
    if let Some(message) =
        advice::missing_to_spawn(&library::loaded_version(), |name| std::env::var(name).ok())
    {
        return launch(message);
    }
    if under_launcher() {
        return Ok(());
    }
    match Library::loaded() {
        Library::OpenMpi(5..) if on_path("prte").is_none() => launch(
            "without mpiexec, Open MPI starts processes with `prte`, which is not on PATH: add the folder of Open MPI's programs \
             to PATH, or start the program with `mpiexec -n 1`"
                .into(),
        ),
        Library::Mpich(_) => match on_path("mpiexec") {
            Some(mpiexec) if !is_of_mpich(&mpiexec) => launch(format!(
                "without mpiexec, MPICH starts processes with the first `mpiexec` on PATH, but {} belongs to another MPI: put the \
                 folder of MPICH's programs first, or start the program with MPICH's `mpiexec -n 1`",
                mpiexec.display()
            )),
            Some(_) => Ok(()),
            None => launch(
                "without mpiexec, MPICH starts processes with the `mpiexec` on PATH, and there is none: add the folder of MPICH's \
                 programs to PATH"
                    .into(),
            ),
        },
        _ => Ok(()),
    }
}

pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether this launcher belongs to MPICH or a derivative.
fn is_of_mpich(mpiexec: &PathBuf) -> bool {
    const LIMIT: Duration = Duration::from_secs(10);
    let start = Instant::now();
    let command = Command::new(mpiexec)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = command else { return false };
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if start.elapsed() > LIMIT {
            let _ = child.kill(); // fails if it has just ended
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().map(|output| output.stdout).unwrap_or_default();
    let output = String::from_utf8_lossy(&output).into_owned();
    ["HYDRA", "Intel(R) MPI", "MVAPICH", "mpich"].iter().any(|name| output.contains(name))
}

/// Spawns a monitor on each further host: this executable, with a marker and the arguments of this program.
pub(crate) fn start_monitors(mpi: Mpi, hosts: &Hosts, launched: bool) -> Result<Communicator> {
    if mpi.has_spawned() && matches!(Library::loaded(), Library::OpenMpi(5..)) {
        // The spawned processes would fail in MPI_Init, and MPI would wait for them forever.
        return Err(Error::Unsupported {
            message: "Open MPI 5 cannot start a second session on several hosts in one program: keep the first session, or \
                      use Open MPI 4 or MPICH"
                .into(),
        });
    }
    let program =
        std::env::current_exe().map_err(|error| Error::system("cannot find this executable", error))?;
    let arguments: Vec<OsString> =
        std::iter::once(ARGUMENT.into()).chain(std::env::args_os().skip(1)).collect();
    let names = hosts.names();
    let path = program.display().to_string();
    let info = keys(Library::loaded(), &names, hosts.of_launcher);
    let _watch = slow_start_warning::warn_when_slow(slow_spawn(&names, &path) + launcher_advice(launched));
    mpi.spawn(&program, &arguments, hosts.further.len(), &info).map_err(|error| Error::Launch {
        message: format!(
            "MPI could not start monitors on {names}: {error}. {}{}",
            failure_advice(Library::loaded(), &path),
            launcher_advice(launched)
        ),
    })
}

/// The keys and values of the `MPI_Info`: one process on each host, whatever its slots, in this folder.
fn keys(library: Library, names: &str, of_launcher: bool) -> Vec<(&'static str, String)> {
    const ONE_PER_HOST: &str = "ppr:1:node:oversubscribe";
    let mut keys = match library {
        Library::OpenMpi(..5) => {
            let place = if of_launcher { "host" } else { "add-host" };
            vec![(place, names.to_owned()), ("map_by", ONE_PER_HOST.into()), ("bind_to", "none".into())]
        }
        Library::OpenMpi(_) => {
            let mut keys = vec![("host", names.to_owned()), ("PMIX_MAPBY", ONE_PER_HOST.into())];
            if !of_launcher {
                keys.push(("PMIX_ADD_HOST", names.to_owned()));
            }
            keys
        }
        // The key of the MPI standard; MPICH uses the hosts round-robin, and has no slots.
        Library::Mpich(_) | Library::Other => vec![("host", names.to_owned())],
    };
    if let Some(folder) =
        std::env::current_dir().ok().and_then(|folder| folder.into_os_string().into_string().ok())
    {
        keys.push(("wdir", folder));
    }
    keys
}

fn failure_advice(library: Library, program: &str) -> String {
    let daemon = match library {
        Library::OpenMpi(..5) => "`orted` must be found there (`mpiexec --prefix`, or the same installation)",
        Library::OpenMpi(_) => "`prted` must be found there (`mpiexec --prefix` or OPAL_PREFIX)",
        Library::Mpich(_) | Library::Other => "MPI must be installed there in the same folder",
    };
    format!(
        "See the messages of MPI above. ssh must reach the hosts without a password (if ssh reports an OpenSSL version \
         mismatch, LD_LIBRARY_PATH contains another OpenSSL), {daemon}, {program} must exist there under the same path, and \
         the hosts must reach each other: {}",
        advice::network_advice(library)
    )
}

/// The warning while MPI takes long to spawn the monitors.
fn slow_spawn(names: &str, program: &str) -> String {
    format!(
        "MPI has not started the monitors on {names} yet; if it never does, check that `ssh HOST true` works without a prompt, \
         that {program} exists there, and that no firewall is in between"
    )
}

/// More advice if no launcher started this program: not every MPI spawns reliably then.
fn launcher_advice(launched: bool) -> &'static str {
    if launched { "" } else { "; starting the program with `mpiexec -n 1` is more reliable" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_advice_names_the_requirements() {
        let text = failure_advice(Library::OpenMpi(4), "/x/app") + launcher_advice(false);
        for word in ["orted", "/x/app", "firewall", "mpiexec -n 1"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(slow_spawn("a,b", "/x/app").contains("that /x/app exists there"));
        assert_eq!(launcher_advice(true), "");
    }

    #[test]
    fn info_keys_match_the_mpi() {
        let host_keys = |library, of_launcher| {
            let keys = keys(library, "a,b", of_launcher);
            keys.into_iter().filter(|(_, value)| value == "a,b").map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(host_keys(Library::OpenMpi(4), true), ["host"]);
        assert_eq!(host_keys(Library::OpenMpi(4), false), ["add-host"]);
        assert_eq!(host_keys(Library::OpenMpi(5), false), ["host", "PMIX_ADD_HOST"]);
        assert_eq!(host_keys(Library::Mpich(Some((3, 4))), false), ["host"]);
    }
}

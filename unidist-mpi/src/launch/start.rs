//! How MPI starts the monitors.

use super::{Hosts, advice, slow_start_warning, under_launcher};
use crate::monitor::ARGUMENT;
use std::ffi::OsString;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_mpi_comm::{Communicator, Library, Mpi, library};

/// Sees what would make MPI hang, or end the job, rather than say what is wrong.
pub(crate) fn check_before_init(hosts: &Hosts) -> Result<()> {
    library::check_loaded()?; // what follows is about the right one
    let launch = |message| Err(Error::Launch { message });
    for host in &hosts.further {
        if let Err(error) = (host.name.as_str(), 0).to_socket_addrs() {
            return launch(format!(
                "the host `{}` is not known here ({error}): correct UNIDIST_MPI_HOSTS, or the list that the MPI launcher \
                 was given",
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
            "without mpiexec, Open MPI starts processes by `prte`, which is not on PATH: add the folder of Open MPI's \
             programs to PATH, or start the program with `mpiexec -n 1`"
                .into(),
        ),
        Library::Mpich(_) => match on_path("mpiexec") {
            Some(mpiexec) if !is_of_mpich(&mpiexec) => launch(format!(
                "without mpiexec, MPICH starts processes by the `mpiexec` that is first on PATH, which is {}, of another \
                 MPI: put the folder of MPICH's programs first, or start the program with MPICH's `mpiexec -n 1`",
                mpiexec.display()
            )),
            Some(_) => Ok(()),
            None => launch(
                "without mpiexec, MPICH starts processes by the `mpiexec` on PATH, and there is none: add the folder of \
                 MPICH's programs to PATH"
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

/// Whether this launcher is MPICH's, or one of those made from it.
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
            let _ = child.kill(); // it may have ended meanwhile
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let said = child.wait_with_output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    ["HYDRA", "Intel(R) MPI", "MVAPICH", "mpich"].iter().any(|name| said.contains(name))
}

/// Starts a monitor on each further host: this executable, with a mark and this program's arguments.
pub(crate) fn start_monitors(mpi: Mpi, hosts: &Hosts, launched: bool) -> Result<Communicator> {
    if mpi.has_spawned() && matches!(Library::loaded(), Library::OpenMpi(5..)) {
        // Those that it starts then fail in MPI_Init, and it waits for them for ever.
        return Err(Error::Unsupported {
            message: "Open MPI 5 does not start processes for a second session on several hosts: keep the first session, \
                      or use Open MPI 4 or MPICH"
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
    let _watch = slow_start_warning::warn_when_slow(not_started(&names, &path) + surer(launched));
    mpi.spawn(&program, &arguments, hosts.further.len(), &info).map_err(|error| Error::Launch {
        message: format!(
            "MPI could not start monitors on {names}: {error}. {}{}",
            failure_advice(Library::loaded(), &path),
            surer(launched)
        ),
    })
}

/// What MPI is told besides: where, one on each host, whatever slots there are, in this folder.
fn keys(library: Library, names: &str, of_launcher: bool) -> Vec<(&'static str, String)> {
    const ONE_A_HOST: &str = "ppr:1:node:oversubscribe";
    let mut keys = match library {
        Library::OpenMpi(..5) => {
            let place = if of_launcher { "host" } else { "add-host" };
            vec![(place, names.to_owned()), ("map_by", ONE_A_HOST.into()), ("bind_to", "none".into())]
        }
        Library::OpenMpi(_) => {
            let mut keys = vec![("host", names.to_owned()), ("PMIX_MAPBY", ONE_A_HOST.into())];
            if !of_launcher {
                keys.push(("PMIX_ADD_HOST", names.to_owned()));
            }
            keys
        }
        // MPI's own key; MPICH takes the hosts in turn, and knows of no slots.
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
        "See what MPI has written above. The hosts must be reached by ssh without a password (if ssh speaks of an \
         OpenSSL version mismatch, LD_LIBRARY_PATH has another OpenSSL in it), {daemon}, {program} must exist there \
         under the same path, and the hosts must reach each other: {}",
        advice::network_advice(library)
    )
}

/// What is said while MPI takes long to start the monitors.
fn not_started(names: &str, program: &str) -> String {
    format!(
        "MPI has not started the monitors on {names} yet; if it never does, see whether `ssh HOST true` works there \
         without a question, whether {program} exists there, and whether a firewall stands between"
    )
}

/// What else may help where no launcher has started this program: not every MPI does well by itself.
fn surer(launched: bool) -> &'static str {
    if launched { "" } else { "; to start the program with `mpiexec -n 1` is the surer way" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_what_must_be_there() {
        let text = failure_advice(Library::OpenMpi(4), "/x/app") + surer(false);
        for word in ["orted", "/x/app", "firewall", "mpiexec -n 1"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(not_started("a,b", "/x/app").contains("whether /x/app exists there"));
        assert_eq!(surer(true), "");
    }

    #[test]
    fn each_mpi_is_told_in_its_own_words() {
        let told = |library, of_launcher| {
            let keys = keys(library, "a,b", of_launcher);
            keys.into_iter().filter(|(_, value)| value == "a,b").map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(told(Library::OpenMpi(4), true), ["host"]);
        assert_eq!(told(Library::OpenMpi(4), false), ["add-host"]);
        assert_eq!(told(Library::OpenMpi(5), false), ["host", "PMIX_ADD_HOST"]);
        assert_eq!(told(Library::Mpich(Some((3, 4))), false), ["host"]);
    }
}

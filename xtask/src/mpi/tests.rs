//! Tests of versions, commands and environments, for each MPI.

use super::install::parse_version;
use super::libclang::is_libclang;
use super::script::text;
use super::{Job, Kind, Mode, Mpi, Name};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn mpi(kind: Kind) -> Mpi {
    let (bin, lib, target) = ("/opt/m p/bin".into(), "/opt/m p/lib".into(), PathBuf::from("/nowhere"));
    Mpi { name: Name::System, kind, version: "1.0".to_owned(), bin, lib, target }
}

fn job() -> Job {
    let hosts = vec![("a".to_owned(), 3), ("b".to_owned(), 2)];
    Job { ranks: 5, hosts, agent: Some("/run/agent".into()), entry: Vec::new() }
}

#[test]
fn versions_are_parsed() {
    let known = [
        ("mpiexec (OpenRTE) 4.1.4\n\nReport bugs to ..", Kind::OpenMpi4, "4.1.4"),
        ("mpirun (Open MPI) 4.0.3\n", Kind::OpenMpi4, "4.0.3"),
        ("mpiexec (Open MPI) 5.0.11\n\nReport bugs to ..", Kind::OpenMpi5, "5.0.11"),
        ("HYDRA build details:\n    Version:             5.0.2\n    Release", Kind::Mpich, "5.0.2"),
        (
            "Intel(R) MPI Library for Linux* OS, Version 2021.18.1 Build 20260626 (id: b44796a)\nCopyright",
            Kind::Intel,
            "2021.18.1",
        ),
    ];
    for (says, kind, version) in known {
        assert_eq!(parse_version(says), Some((kind, version.to_owned())), "{says}");
    }
    assert_eq!(parse_version("some other program 1.0"), None);
    assert_eq!(parse_version(""), None);
}

#[test]
fn open_mpi_5_does_not_spawn_on_several_hosts() {
    for kind in [Kind::OpenMpi4, Kind::Mpich, Kind::Intel] {
        assert_eq!(mpi(kind).limit(Mode::Spawn, 3), None);
    }
    let open_mpi_5 = mpi(Kind::OpenMpi5);
    assert!(open_mpi_5.limit(Mode::Spawn, 3).is_some());
    assert_eq!((open_mpi_5.limit(Mode::Spawn, 1), open_mpi_5.limit(Mode::Spmd, 3)), (None, None));
}

#[test]
fn libclang_is_recognized_by_name() {
    for name in ["libclang.so", "libclang.so.1", "libclang-14.so", "libclang-14.so.13"] {
        assert!(is_libclang(name), "{name}");
    }
    for name in ["libclang-cpp.so.14", "libclang.a", "libclang-sys.so", "clang.so", "libclang.sorry"] {
        assert!(!is_libclang(name), "{name}");
    }
}

#[test]
fn host_arguments_differ_by_implementation() {
    let line = |kind, job: &Job| -> Vec<String> {
        let words = mpi(kind).mpiexec(job).unwrap();
        words.into_iter().skip(1).map(|word| word.into_string().unwrap()).collect()
    };
    let open = line(Kind::OpenMpi4, &job()).join(" ");
    assert_eq!(open, "--oversubscribe --bind-to none -n 5 --host a:3,b:2");
    assert!(line(Kind::Mpich, &job()).join(" ").contains("-launcher-exec /run/agent"));
    assert!(line(Kind::Intel, &job()).join(" ").ends_with("-ppn 1 -hosts a,a,a,b,b"));
    assert_eq!(line(Kind::Mpich, &Job::local(3)), ["-n", "3"]);
    let entry = vec!["/run/enter".into(), "a".into()];
    let from_outside = Job { entry, ..job() };
    assert!(
        line(Kind::OpenMpi4, &from_outside).join(" ").starts_with("a /opt/m p/bin/mpiexec --oversubscribe")
    );
    assert!(line(Kind::OpenMpi5, &job().with_initial_ranks(1)).join(" ").contains("-n 1 --host a:3,b:2"));
}

#[test]
fn own_programs_and_libraries_come_first() {
    let value = |environment: Vec<(&str, OsString)>, name| {
        let found = environment.into_iter().find(|(variable, _)| *variable == name);
        found.unwrap().1.into_string().unwrap()
    };
    for kind in [Kind::OpenMpi4, Kind::OpenMpi5, Kind::Mpich, Kind::Intel] {
        let mpi = mpi(kind);
        assert!(value(mpi.build_environment().unwrap(), "PATH").starts_with("/opt/m p/bin:"));
        assert!(
            value(mpi.build_environment().unwrap(), "CARGO_ENCODED_RUSTFLAGS")
                .ends_with("-C\u{1f}link-arg=-Wl,-rpath,/opt/m p/lib")
        );
        assert!(value(mpi.run_environment(&job()).unwrap(), "LD_LIBRARY_PATH").starts_with("/opt/m p/lib"));
    }
}

/// The script passes on arguments, the caller's settings and its own, but no variables of another MPI.
#[test]
fn script_passes_settings_on() {
    let text = text(&mpi(Kind::Mpich), &Job::local(1), &[("UNIDIST_A", "it's b".to_owned())]).unwrap();
    let (head, _) = text.rsplit_once("exec ").unwrap();
    let shown = format!("{head}\nprintf '[%s]' \"$@\"; env | grep -c ^OMPI_OTHER || true\n");
    let mut shell = Command::new("sh")
        .args(["-s", "--", "program", "two words"])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("OMPI_OTHER", "1"), ("UNIDIST_C", "x\ny z"), ("OTHER", "1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(shown.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    for word in ["[UNIDIST_A=it's b]", "[UNIDIST_C=x\ny z]", "[program][two words]0\n"] {
        assert!(output.contains(word), "{word} is not in {output}");
    }
}

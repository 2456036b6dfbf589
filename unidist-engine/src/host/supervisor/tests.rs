//! Processes that do not behave, played by a shell. Their standard input is the socket: they read the first line of the
//! welcome there, and say there what they say.

use super::*;
use crate::link::handshake::VERSION;
use std::sync::mpsc::RecvTimeoutError;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

struct Office {
    supervisor: Supervisor,
    notices: Receiver<ProcessEvent>,
}

impl Office {
    /// Starts processes that run this script.
    fn open(script: &str) -> Office {
        Office::open_with(script, LaunchCommand::default())
    }

    /// The same, started as this says.
    fn open_with(script: &str, command: LaunchCommand) -> Office {
        let (sender, notices) = channel();
        let process = ProcessId::CONTROLLER;
        let config = SupervisorConfig {
            command: LaunchCommand {
                program: "/bin/sh".into(),
                args: vec!["-c".into(), script.into()],
                ..command
            },
            segment: Segment::create("unidist-test", 4096).unwrap(),
            spill: None,
            welcome: Welcome {
                build_id: "a".into(),
                process,
                actor: false,
                log_dir: None,
                host: None,
                inline_limit: 1 << 15,
            },
            notify: Box::new(move |notice| drop(sender.send(notice))),
        };
        Office { supervisor: Supervisor::start(config).unwrap(), notices }
    }

    fn launch(&self, number: u32) -> ProcessId {
        let process = ProcessId::new(number).unwrap();
        self.supervisor.launch(process, false);
        process
    }

    /// Which process was lost next, and why.
    fn loss(&self) -> (ProcessId, String) {
        match self.notices.recv_timeout(LONG) {
            Ok(ProcessEvent::Lost(process, why)) => (process, why),
            Ok(ProcessEvent::Joined(process, _)) => panic!("{process} has joined"),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("no notice"),
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.supervisor.end();
    }
}

/// The beginning of an answer of this version, with a body of 100 bytes.
fn prefix(version: u32) -> String {
    format!(r"unidist\n\{version:03o}\0\0\0\144\0\0\0")
}

#[test]
fn an_answer_in_drops_has_an_end() {
    // A byte now and then, of which each comes in time: the answer alone would take some twenty seconds.
    let office = Office::open(&format!(
        "read _; printf '{}' >&0; while printf x >&0; do sleep 0.2; done; sleep 60",
        prefix(VERSION)
    ));
    let slow = office.launch(1);
    let (process, why) = office.loss();
    assert_eq!(process, slow);
    assert!(why.contains("its answer did not end in time"), "{why}");
}

#[test]
fn another_version_and_another_language_are_told_apart() {
    let office = Office::open(&format!("read _; printf '{}' >&0; exec sleep 60", prefix(99)));
    office.launch(1);
    let (_, why) = office.loss();
    assert!(why.contains("version 99"), "{why}");
    let office = Office::open("read _; echo 'I speak something else' >&0; exec sleep 60");
    office.launch(1);
    let (_, why) = office.loss();
    assert!(why.contains("does not speak"), "{why}");
    let office = Office::open(&format!("read _; printf '{}' >&0; exit 4", prefix(VERSION)));
    office.launch(1);
    let (_, why) = office.loss();
    assert!(why.contains("in the middle of its answer"), "{why}");
}

#[test]
fn a_process_starts_where_it_is_told_and_without_what_it_is_not_to_have() {
    let as_told = r#"[ "$PWD" = / ] && [ -z "$HOME" ] && [ "$GIVEN" = yes ]"#;
    let script = format!("read _; {as_told} && printf '{}' >&0; exec sleep 60", prefix(77));
    let command = LaunchCommand {
        envs: vec![("GIVEN".into(), "yes".into())],
        dropped_env_prefixes: vec!["HOM".into()],
        dir: Some("/".into()),
        affinities: vec![(0..64).collect()],
        ..LaunchCommand::default()
    };
    let office = Office::open_with(&script, command);
    office.launch(1);
    let (_, why) = office.loss();
    assert!(why.contains("version 77"), "{why}");
}

//! Misbehaving processes, played by a shell. Their standard input is the socket: they read the first line of the welcome
//! from it and write their answer to it.

use super::*;
use crate::protocol::handshake::VERSION;
use std::sync::mpsc::RecvTimeoutError;

/// Longer than any step here takes.
const LONG: Duration = Duration::from_secs(50);

struct Session {
    supervisor: Supervisor,
    events: Receiver<ProcessEvent>,
}

impl Session {
    /// Starts processes that run this script.
    fn start(script: &str) -> Session {
        Session::start_with(script, LaunchCommand::default())
    }

    /// The same with this launch command.
    fn start_with(script: &str, command: LaunchCommand) -> Session {
        let (sender, events) = channel();
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
            notify: Box::new(move |event| drop(sender.send(event))),
        };
        Session { supervisor: Supervisor::start(config).unwrap(), events }
    }

    fn launch(&self, number: u32) -> ProcessId {
        let process = ProcessId::new(number).unwrap();
        self.supervisor.launch(process, false);
        process
    }

    /// The next process that was lost, and the reason.
    fn loss(&self) -> (ProcessId, String) {
        match self.events.recv_timeout(LONG) {
            Ok(ProcessEvent::Lost(process, why)) => (process, why),
            Ok(ProcessEvent::Joined { process, .. }) => panic!("{process} has joined"),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!("no event"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.supervisor.end();
    }
}

/// The beginning of an answer of this version, with a body of 100 bytes.
fn prefix(version: u32) -> String {
    format!(r"unidist\n\{version:03o}\0\0\0\144\0\0\0")
}

#[test]
fn answer_that_arrives_too_slowly_times_out() {
    // Each byte arrives in time, but the whole answer would take twenty seconds.
    let session = Session::start(&format!(
        "read _; printf '{}' >&0; while printf x >&0; do sleep 0.2; done; sleep 60",
        prefix(VERSION)
    ));
    let slow = session.launch(1);
    let (process, why) = session.loss();
    assert_eq!(process, slow);
    assert!(why.contains("it did not complete its answer within"), "{why}");
}

#[test]
fn answers_of_another_version_or_program_are_refused() {
    let session = Session::start(&format!("read _; printf '{}' >&0; exec sleep 60", prefix(99)));
    session.launch(1);
    let (_, why) = session.loss();
    assert!(why.contains("version 99"), "{why}");
    let session = Session::start("read _; echo 'I speak something else' >&0; exec sleep 60");
    session.launch(1);
    let (_, why) = session.loss();
    assert!(why.contains("does not use unidist's protocol"), "{why}");
    let session = Session::start(&format!("read _; printf '{}' >&0; exit 4", prefix(VERSION)));
    session.launch(1);
    let (_, why) = session.loss();
    assert!(why.contains("before its answer was complete"), "{why}");
}

#[test]
fn process_starts_in_its_folder_with_its_environment() {
    let is_as_configured = r#"[ "$PWD" = / ] && [ -z "$HOME" ] && [ "$GIVEN" = yes ]"#;
    let script = format!("read _; {is_as_configured} && printf '{}' >&0; exec sleep 60", prefix(77));
    let command = LaunchCommand {
        envs: vec![("GIVEN".into(), "yes".into())],
        dropped_env_prefixes: vec!["HOM".into()],
        dir: Some("/".into()),
        affinities: vec![(0..64).collect()],
        ..LaunchCommand::default()
    };
    let session = Session::start_with(&script, command);
    session.launch(1);
    let (_, why) = session.loss();
    assert!(why.contains("version 77"), "{why}");
}

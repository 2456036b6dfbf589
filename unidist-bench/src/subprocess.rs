//! Running other programs with a time limit, and reading their output.

use crate::Result;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a program and returns its output and how it ended. It is killed after the time limit. `afterwards` is called
/// when it has ended, before its last output is read.
pub(crate) fn output(
    command: &mut Command,
    limit: Duration,
    afterwards: impl FnOnce(),
) -> Result<(String, Result)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take();
    // The output may exceed the capacity of a pipe, so it is read while the program runs.
    let reader = std::thread::spawn(move || {
        let mut printed = Vec::new();
        output.map(|mut output| output.read_to_end(&mut printed)).transpose().map(|_| printed)
    });
    let end = wait(&mut child, limit);
    afterwards();
    let printed = reader.join().map_err(|_| "cannot read the output of the program")??;
    Ok((String::from_utf8_lossy(&printed).into_owned(), end))
}

/// Waits for the end of the process, and kills it after the time limit.
fn wait(child: &mut Child, limit: Duration) -> Result {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return if status.success() { Ok(()) } else { Err(status.to_string().into()) };
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("not done after {} s", limit.as_secs()).into());
        }
        // Short enough to see its end soon, long enough to leave the CPUs to it.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_if_the_program_fails() {
        let run = |script: &str, limit| {
            let mut called = false;
            let done = output(Command::new("sh").args(["-c", script]), limit, || called = true).unwrap();
            assert!(called);
            done
        };
        let (printed, end) = run("echo a", Duration::from_secs(60));
        assert_eq!(printed, "a\n");
        end.unwrap();
        let (printed, end) = run("echo b; exit 3", Duration::from_secs(60));
        assert_eq!((printed.as_str(), end.is_err()), ("b\n", true));
        let (_, end) = run("exec sleep 1000", Duration::from_millis(1));
        assert!(end.unwrap_err().to_string().starts_with("not done"));
    }
}

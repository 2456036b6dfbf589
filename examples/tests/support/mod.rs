//! Runs example programs and reads what they print and draw.

#![allow(dead_code, clippy::unwrap_used, reason = "test code that several test programs include")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A program that runs longer than this has hung.
const LIMIT: Duration = Duration::from_secs(150);

/// The backends of the default features.
pub(crate) const BACKENDS: [&str; 2] = ["pyseq", "pymp"];

/// Exit status and output of a program.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The standard output of a program that must have succeeded.
    pub(crate) fn text(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// Runs a program with two CPUs on a backend.
pub(crate) fn run(program: &str, backend: &str, arguments: &[&Path]) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .envs([("UNIDIST_BACKEND", backend), ("UNIDIST_CPUS", "2")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdout, stderr) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            let stderr = stderr.join().unwrap();
            panic!("{program} on {backend} still runs after {LIMIT:?}\n{stderr}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

/// An empty folder.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The pixels of a PNG file of this width and height.
pub(crate) fn picture(path: &Path, size: (u32, u32)) -> Vec<u8> {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), size);
    let mut picture = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut picture).unwrap();
    picture
}

/// The picture of `julia` and `executor_julia`, from a sequential loop.
pub(crate) fn julia() -> Vec<u8> {
    let mut expected = vec![0; 1280 * 960];
    for (index, pixel) in expected.iter_mut().enumerate() {
        let (column, line) = ((index % 1280) as f64, (index / 1280) as f64);
        let (mut x, mut y) = (-2.0 + column * 4.0 / 1280.0, 1.5 - line * 3.0 / 960.0);
        let mut n = 255;
        while x * x + y * y < 9.0 && n > 1 {
            (x, y) = (x * x - y * y, 2.0 * x * y + 0.65);
            n -= 1;
        }
        *pixel = n;
    }
    expected
}

/// Runs a program with an `--output` in a missing folder.
pub(crate) fn unwritable_path_is_reported(program: &str, backend: &str) {
    let output = folder(&format!("unwritable-{backend}")).join("no-such-folder/picture.png");
    let output = run(program, backend, &["--output".as_ref(), &output]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("no-such-folder"), "{}", output.stderr);
}

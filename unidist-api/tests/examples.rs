//! The examples, run as a person runs them: each gives what its sequential version gives, on every backend.
//!
//! Cargo builds examples with the tests of a package unless a target is chosen: to run only these, filter by name
//! (`cargo nextest run -p unidist-api -E 'binary(examples)'`) rather than with `--test examples`.

#![allow(clippy::unwrap_used, reason = "this is a test, its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// No example needs so long on the slowest machine.
const LIMIT: Duration = Duration::from_secs(150);

/// The backends that are built in.
const BACKENDS: &[&str] = &[
    #[cfg(feature = "pyseq")]
    "pyseq",
    #[cfg(feature = "pymp")]
    "pymp",
];

/// How an example ended, and what it said.
#[derive(Debug)]
struct Ran {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// What it said; it must have ended well.
    fn text(self) -> String {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}

/// The executable of an example, which cargo builds beside the tests.
fn executable(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{}: not there; `cargo test --test examples` builds no examples, `cargo build --examples` does",
        path.display()
    );
    path
}

fn run(example: &str, backend: &str, arguments: &[&Path]) -> Ran {
    let mut child = Command::new(executable(example))
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
            panic!("{example} on {backend} is not done after {LIMIT:?}\n{stderr}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ran { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn reader(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The picture that one loop computes.
fn julia() -> Vec<u8> {
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

/// The picture in a file, which has this width and height.
fn picture(path: &Path, size: (u32, u32)) -> Vec<u8> {
    let decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), size);
    let mut picture = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut picture).unwrap();
    picture
}

#[test]
fn julia_is_what_one_loop_computes() {
    let expected = julia();
    for backend in BACKENDS {
        let output = folder(&format!("julia-{backend}")).join("picture.png");
        let text = run("julia", backend, &["--output".as_ref(), &output]).text();
        assert!(text.contains("960 tasks") && text.contains(&format!("backend {backend}")), "{text}");
        assert!(picture(&output, (1280, 960)) == expected, "the picture of backend {backend} differs");
    }
}

#[test]
fn so_is_that_of_the_executor() {
    let expected = julia();
    for (backend, chunksize) in BACKENDS.iter().flat_map(|backend| [(backend, "1"), (backend, "7")]) {
        let output = folder(&format!("executor-julia-{backend}-{chunksize}")).join("picture.png");
        let arguments = ["--chunksize".as_ref(), chunksize.as_ref(), "--output".as_ref(), output.as_path()];
        let text = run("executor_julia", backend, &arguments).text();
        let calls = if chunksize == "1" { "960 calls" } else { "138 calls" };
        assert!(text.contains(calls) && text.contains(&format!("backend {backend}")), "{text}");
        assert!(picture(&output, (1280, 960)) == expected, "the picture of backend {backend} differs");
    }
}

#[test]
fn julia_says_where_it_cannot_write() {
    for (backend, example) in
        BACKENDS.iter().flat_map(|backend| [(backend, "julia"), (backend, "executor_julia")])
    {
        let output = folder(&format!("{example}-nowhere-{backend}")).join("no-such-folder/picture.png");
        let ran = run(example, backend, &["--output".as_ref(), &output]);
        assert_eq!(ran.status.code(), Some(1));
        assert!(ran.stderr.contains("no-such-folder"), "{}", ran.stderr);
    }
}

/// What wordcount prints, without the last line, which has the time. The versions must agree on the rest, and on what
/// they skip, which comes second.
fn wordcount(folder: &Path) -> (Vec<String>, String) {
    let counted = |backend: &str, arguments: &[&Path]| {
        let ran = run("wordcount", backend, arguments);
        let skipped: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("skipped ")).collect();
        let skipped = skipped.join("\n");
        let mut lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
        let last = lines.pop().unwrap();
        assert!(last.starts_with("counted in "), "{last}");
        (lines, skipped)
    };
    let sequential = counted("no backend is needed", &[folder, "--sequential".as_ref()]);
    for backend in BACKENDS {
        assert_eq!(counted(backend, &[folder]), sequential, "{backend}");
    }
    sequential
}

#[test]
fn wordcount_of_this_repository() {
    // Copied, since others may be writing to the original.
    let copy = folder("sources");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = Vec::new();
    for member in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path().join("src")) {
        if member.is_dir() {
            copy_sources(&member, &copy, &mut texts);
        }
    }
    let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
    for word in texts.iter().flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || c == '_'))) {
        *expected.entry(word).or_default() += 1;
    }
    expected.remove("");
    let total: u64 = expected.values().sum();
    let distinct = expected.len();
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut lines: Vec<_> =
        expected[..20].iter().map(|(word, count)| format!("{count:>10} {word}")).collect();
    let files = texts.len();
    lines.push(format!("{total} words, {distinct} different ones, in {files} files found, 0 skipped"));
    assert_eq!(wordcount(&copy).0, lines);
}

fn copy_sources(from: &Path, to: &Path, texts: &mut Vec<String>) {
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            copy_sources(&path, to, texts);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(to.join(format!("{}.rs", texts.len())), &text).unwrap();
            texts.push(text);
        }
    }
}

#[test]
fn wordcount_of_words_as_frequent_as_others() {
    let folder = folder("ties");
    fs::create_dir(folder.join("below")).unwrap();
    fs::write(folder.join("a.txt"), "b a Ä zwölf b_1 a").unwrap();
    fs::write(folder.join("below/b.txt"), "zwölf,b;Ä\nc").unwrap();
    fs::write(folder.join("empty.txt"), "").unwrap();
    let lines = ["a", "b", "zwölf", "Ä"].map(|word| format!("{:>10} {word}", 2)).into_iter();
    let lines = lines.chain(["b_1", "c"].map(|word| format!("{:>10} {word}", 1)));
    let last = "10 words, 6 different ones, in 3 files found, 0 skipped".to_owned();
    assert_eq!(wordcount(&folder).0, lines.chain([last]).collect::<Vec<_>>());
}

#[test]
fn wordcount_of_nothing() {
    let lines = ["0 words, 0 different ones, in 0 files found, 0 skipped"];
    assert_eq!(wordcount(&folder("nothing")).0, lines);
}

#[cfg(unix)]
#[test]
fn wordcount_skips_what_it_cannot_read() {
    let folder = folder("unreadable");
    fs::write(folder.join("text"), "one two").unwrap();
    fs::write(folder.join("latin"), b"caf\xe9").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("dangling")).unwrap();
    std::os::unix::fs::symlink("..", folder.join("loop")).unwrap();
    let (lines, skipped) = wordcount(&folder);
    assert_eq!(lines.last().unwrap(), "2 words, 2 different ones, in 2 files found, 2 skipped");
    let skipped: Vec<_> = skipped.lines().collect();
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped[0].contains("dangling: No such file"), "{skipped:?}");
    assert!(skipped[1].contains("latin: not UTF-8"), "{skipped:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn wordcount_reads_files_of_any_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder("names");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "one").unwrap();
    assert_eq!(wordcount(&folder).0[0].trim(), "1 one");
}

#[test]
fn wordcount_of_no_folder() {
    let missing = folder("missing").join("no-such-folder");
    let file = folder("file").join("a.txt");
    fs::write(&file, "text").unwrap();
    for backend in BACKENDS {
        for path in [&missing, &file] {
            let ran = run("wordcount", backend, &[path]);
            assert_eq!(ran.status.code(), Some(1));
            let start = format!("error: {}: ", path.display());
            assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
        }
    }
}

#[test]
fn churn_leaves_memory_as_it_is() {
    for backend in BACKENDS {
        let text = run("churn", backend, &["--cycles".as_ref(), "20000".as_ref()]).text();
        let sizes = text.lines().next().unwrap().split_once(": ").unwrap().1;
        let sizes: Vec<f64> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
        assert!(sizes.len() == 10 && sizes[9] < sizes[2] + 16.0, "{text}");
    }
}

#[cfg(feature = "patterns")]
#[test]
fn views_montecarlo_finds_pi() {
    let help = run("views_montecarlo", "pyseq", &["--help".as_ref()]).text();
    assert!(help.contains("--darts") && help.contains("--series"), "{help}");
    for backend in BACKENDS {
        let arguments = ["--darts", "200000", "--series", "10"].map(Path::new);
        let text = run("views_montecarlo", backend, &arguments).text();
        let pi: f64 = text.split(['t', ',']).nth(1).and_then(|number| number.trim().parse().ok()).unwrap();
        assert!((pi - std::f64::consts::PI).abs() < 0.03, "{text}");
        assert!(text.contains("200000 darts in 10 series") && text.contains("2 engines"), "{text}");
        assert!(text.contains(&format!("backend {backend}")), "{text}");
    }
}

#[cfg(feature = "patterns")]
#[test]
fn a_reduced_basis_is_the_same_wherever_it_is_made() {
    let ran = |name: &str, backend: &str, more: &[&Path]| {
        let output = folder(&format!("reduced-basis-{name}")).join("errors.svg");
        let small = ["--training", "4", "--tests", "5", "--basis", "10"].map(Path::new);
        let arguments = [&small[..], &["--output".as_ref(), &output], more].concat();
        let text = run("pool_reduced_basis", backend, &arguments).text();
        let (table, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(last.starts_with("wrote "), "{text}");
        (table.to_owned(), fs::read_to_string(output).unwrap())
    };
    let (table, picture) = ran("sequential", "no backend is needed", &["--sequential".as_ref()]);
    let errors: Vec<f64> = table
        .lines()
        .filter_map(|line| line.split_once("  ")?.1.trim().split(' ').next_back()?.parse().ok())
        .collect();
    assert_eq!(errors.len(), 10, "{table}");
    assert!(errors[0] > 0.1 && errors[9] < 1e-3, "{table}");
    assert_eq!(picture.matches("<circle").count(), 10);
    for backend in BACKENDS {
        assert_eq!(ran(backend, backend, &[]), (table.clone(), picture.clone()), "{backend}");
    }
}

/// Programs of ranks need no backend.
#[cfg(feature = "spmd")]
const RANKS: &str = "no backend is needed";

#[cfg(feature = "spmd")]
#[test]
fn a_rank_sees_what_was_set() {
    let text = run("spmd_array", RANKS, &[]).text();
    let row = "[0, 0, 0, 0, 0]";
    let zeros = format!("[{row},\n {row},\n {row}]\n");
    let expected = [
        format!("SharedArray: [3, 5] of f64, on 1 host (1 ranks)\n{zeros}"),
        format!("rank 0, made:\n{zeros}"),
        format!("rank 0, set:\n[{row},\n [0, 0, 1, 2, 0],\n [0, 3, 4, 5, 0]]\n"),
        format!("rank 0, assigned:\n[{row},\n [0, 0, 10, 20, 0],\n [0, 30, 40, 50, 0]]\n"),
        "rank 0: element (2, 3) is 50\nrank 0: row 1 adds up to 30\n".to_owned(),
    ];
    assert_eq!(text, expected.concat());
}

#[cfg(feature = "spmd")]
#[test]
fn a_batch_goes_on_where_it_has_stopped() {
    let states = folder("batch").join("states");
    let ran = || run("spmd_batch", RANKS, &[&states, "--nap".as_ref(), "1".as_ref()]).text();
    let all: Vec<_> = (0..10).map(|task| format!("{task} DONE")).collect();
    assert_eq!(ran(), format!("worker 0 of 1: {}\n", all.join(", ")));
    let state = |task: &str| states.join(task).join("state");
    for task in 0..10 {
        assert_eq!(fs::read_to_string(state(&format!("task_{task:03}"))).unwrap(), "DONE\n");
    }
    assert_eq!(ran(), "worker 0 of 1: nothing\n");
    fs::write(state("task_003"), "OPEN\n").unwrap();
    assert_eq!(ran(), "worker 0 of 1: 3 DONE\n");
}

#[cfg(feature = "spmd")]
#[test]
fn heat_spreads_and_is_not_lost() {
    let folder = folder("heat2d");
    let ran = |steps: &str| {
        let output = folder.join("plate.png");
        let plate = ["--rows", "70", "--columns", "50", "--check", "--steps", steps].map(Path::new);
        let text = run("heat2d", RANKS, &[&plate[..], &["--output".as_ref(), &output]].concat()).text();
        assert!(text.contains("\nall numbers are those of one rank\n"), "{text}");
        assert!(picture(&output, (50, 70)).chunks(3).any(|pixel| pixel == [255, 255, 255]), "{text}");
        let numbers = text.split_once("temperatures from ").unwrap().1.split([' ', ',']);
        numbers.filter_map(|word| word.parse().ok()).take(3).collect::<Vec<f64>>()
    };
    let (first, last) = (ran("0"), ran("400"));
    assert!(first[0] == 0.0 && last[0] > 0.0 && last[1] < first[1], "{first:?} {last:?}");
    assert!((first[2] - last[2]).abs() < 2e-6, "{first:?} {last:?}");

    let nowhere = folder.join("no-such-folder/plate.png");
    let ran = run("heat2d", RANKS, &["--steps".as_ref(), "1".as_ref(), "--output".as_ref(), &nowhere]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("rank 0 of 1") && ran.stderr.contains("no-such-folder"), "{}", ran.stderr);
}

//! Runs the programs as a user does: on every backend, each gives the result of its sequential version.

#![allow(clippy::unwrap_used, reason = "this is a test, its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::{BACKENDS, folder, julia, picture, run, unwritable_path_is_reported};

/// For programs that start no session.
const UNUSED: &str = "unused";

#[test]
fn julia_equals_a_sequential_loop() {
    let expected = julia();
    for backend in BACKENDS {
        let output = folder(&format!("julia-{backend}")).join("picture.png");
        let text = run(env!("CARGO_BIN_EXE_julia"), backend, &["--output".as_ref(), &output]).text();
        assert!(text.contains("960 tasks") && text.contains(&format!("backend {backend}")), "{text}");
        assert!(picture(&output, (1280, 960)) == expected, "the picture of backend {backend} differs");
    }
}

#[test]
fn julia_reports_an_unwritable_path() {
    for backend in BACKENDS {
        unwritable_path_is_reported(env!("CARGO_BIN_EXE_julia"), backend);
    }
}

/// What wordcount prints, without the last line, which has the time. The versions must agree on the rest, and on what
/// they skip, which comes second.
fn wordcount(folder: &Path) -> (Vec<String>, String) {
    let counted = |backend: &str, arguments: &[&Path]| {
        let ran = run(env!("CARGO_BIN_EXE_wordcount"), backend, arguments);
        let skipped: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("skipped ")).collect();
        let skipped = skipped.join("\n");
        let mut lines: Vec<_> = ran.text().lines().map(str::to_owned).collect();
        let last = lines.pop().unwrap();
        assert!(last.starts_with("counted in "), "{last}");
        (lines, skipped)
    };
    let sequential = counted(UNUSED, &[folder, "--sequential".as_ref()]);
    for backend in BACKENDS {
        assert_eq!(counted(backend, &[folder]), sequential, "{backend}");
    }
    sequential
}

#[test]
fn wordcount_of_sources() {
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
fn wordcount_sorts_ties_by_word() {
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
fn wordcount_of_an_empty_folder() {
    let lines = ["0 words, 0 different ones, in 0 files found, 0 skipped"];
    assert_eq!(wordcount(&folder("nothing")).0, lines);
}

#[cfg(unix)]
#[test]
fn wordcount_skips_unreadable_files() {
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
fn wordcount_reads_file_names_that_are_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder("names");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "one").unwrap();
    assert_eq!(wordcount(&folder).0[0].trim(), "1 one");
}

#[test]
fn wordcount_reports_a_missing_folder() {
    let missing = folder("missing").join("no-such-folder");
    let file = folder("file").join("a.txt");
    fs::write(&file, "text").unwrap();
    for backend in BACKENDS {
        for path in [&missing, &file] {
            let ran = run(env!("CARGO_BIN_EXE_wordcount"), backend, &[path]);
            assert_eq!(ran.status.code(), Some(1));
            let start = format!("error: {}: ", path.display());
            assert!(ran.stderr.starts_with(&start), "{}", ran.stderr);
        }
    }
}

#[test]
fn churn_uses_constant_memory() {
    for backend in BACKENDS {
        let text = run(env!("CARGO_BIN_EXE_churn"), backend, &["--cycles".as_ref(), "20000".as_ref()]).text();
        let sizes = text.lines().next().unwrap().split_once(": ").unwrap().1;
        let sizes: Vec<f64> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
        assert!(sizes.len() == 10 && sizes[9] < sizes[2] + 16.0, "{text}");
    }
}

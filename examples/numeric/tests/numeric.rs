//! Runs the programs as a user does: on every backend, each gives the result of its sequential version.

#![allow(clippy::unwrap_used, reason = "this is a test, its helpers too")]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use support::{BACKENDS, folder, julia, picture, run, unwritable_path_is_reported};

/// For programs that start no session.
const UNUSED: &str = "unused";

#[test]
fn reduced_basis_is_the_same_on_every_backend() {
    let ran = |name: &str, backend: &str, more: &[&Path]| {
        let output = folder(&format!("reduced-basis-{name}")).join("errors.svg");
        let small = ["--training", "4", "--tests", "5", "--basis", "10"].map(Path::new);
        let arguments = [&small[..], &["--output".as_ref(), &output], more].concat();
        let text = run(env!("CARGO_BIN_EXE_pool_reduced_basis"), backend, &arguments).text();
        let (table, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert!(last.starts_with("wrote "), "{text}");
        (table.to_owned(), fs::read_to_string(output).unwrap())
    };
    let (table, picture) = ran("sequential", UNUSED, &["--sequential".as_ref()]);
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

#[test]
fn spmd_array_shows_assigned_values() {
    let text = run(env!("CARGO_BIN_EXE_spmd_array"), UNUSED, &[]).text();
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

#[test]
fn spmd_batch_resumes_open_tasks() {
    let states = folder("batch").join("states");
    let ran =
        || run(env!("CARGO_BIN_EXE_spmd_batch"), UNUSED, &[&states, "--nap".as_ref(), "1".as_ref()]).text();
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

#[test]
fn heat2d_conserves_heat() {
    let folder = folder("heat2d");
    let ran = |steps: &str| {
        let output = folder.join("plate.png");
        let plate = ["--rows", "70", "--columns", "50", "--check", "--steps", steps].map(Path::new);
        let text = run(
            env!("CARGO_BIN_EXE_heat2d"),
            UNUSED,
            &[&plate[..], &["--output".as_ref(), &output]].concat(),
        )
        .text();
        assert!(text.contains("\nall numbers are those of one rank\n"), "{text}");
        assert!(picture(&output, (50, 70)).chunks(3).any(|pixel| pixel == [255, 255, 255]), "{text}");
        let numbers = text.split_once("temperatures from ").unwrap().1.split([' ', ',']);
        numbers.filter_map(|word| word.parse().ok()).take(3).collect::<Vec<f64>>()
    };
    let (first, last) = (ran("0"), ran("400"));
    assert!(first[0] == 0.0 && last[0] > 0.0 && last[1] < first[1], "{first:?} {last:?}");
    assert!((first[2] - last[2]).abs() < 2e-6, "{first:?} {last:?}");

    let nowhere = folder.join("no-such-folder/plate.png");
    let ran = run(
        env!("CARGO_BIN_EXE_heat2d"),
        UNUSED,
        &["--steps".as_ref(), "1".as_ref(), "--output".as_ref(), &nowhere],
    );
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("rank 0 of 1") && ran.stderr.contains("no-such-folder"), "{}", ran.stderr);
}

#[test]
fn executor_julia_equals_a_sequential_loop() {
    let expected = julia();
    for (backend, chunksize) in BACKENDS.iter().flat_map(|backend| [(backend, "1"), (backend, "7")]) {
        let output = folder(&format!("executor-julia-{backend}-{chunksize}")).join("picture.png");
        let arguments = ["--chunksize".as_ref(), chunksize.as_ref(), "--output".as_ref(), output.as_path()];
        let text = run(env!("CARGO_BIN_EXE_executor_julia"), backend, &arguments).text();
        let calls = if chunksize == "1" { "960 calls" } else { "138 calls" };
        assert!(text.contains(calls) && text.contains(&format!("backend {backend}")), "{text}");
        assert!(picture(&output, (1280, 960)) == expected, "the picture of backend {backend} differs");
    }
}

#[test]
fn executor_julia_reports_an_unwritable_path() {
    for backend in BACKENDS {
        unwritable_path_is_reported(env!("CARGO_BIN_EXE_executor_julia"), backend);
    }
}

#[test]
fn views_montecarlo_finds_pi() {
    let help = run(env!("CARGO_BIN_EXE_views_montecarlo"), "pyseq", &["--help".as_ref()]).text();
    assert!(help.contains("--darts") && help.contains("--series"), "{help}");
    for backend in BACKENDS {
        let arguments = ["--darts", "200000", "--series", "10"].map(Path::new);
        let text = run(env!("CARGO_BIN_EXE_views_montecarlo"), backend, &arguments).text();
        let pi: f64 = text.split(['t', ',']).nth(1).and_then(|number| number.trim().parse().ok()).unwrap();
        assert!((pi - std::f64::consts::PI).abs() < 0.03, "{text}");
        assert!(text.contains("200000 darts in 10 series") && text.contains("2 engines"), "{text}");
        assert!(text.contains(&format!("backend {backend}")), "{text}");
    }
}

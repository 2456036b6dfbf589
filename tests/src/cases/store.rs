//! The limits of the object store: objects beyond the memory limit go to disk and come back, and an object that fits
//! nowhere is an error with the reason.

use crate::case::{Case, PYMP, Result, cases};
use crate::process;
use crate::program::assert_all_freed;
use crate::runner::{self, MARK};
use crate::support::{BOUND, is_parallel};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use unidist::config::{ConfigError, SpillDir, SpillLimit};
use unidist::prelude::*;
use unidist::{Error, HeldBy, SharedSlice, StoreFull, init, put_slice, store_usage};

pub(super) const MIB: usize = 1 << 20;

pub(super) const CASES: &[Case] = cases!["store":
    objects_above_the_memory_limit.settings(&[MEMORY_16, DISK_256]),
    results_above_the_memory_limit.settings(&[MEMORY_16, DISK_256]),
    view_stays_unchanged.settings(&[MEMORY_8, DISK_256]),
    arguments_of_running_calls_stay.settings(&[MEMORY_8, DISK_256]),
    actors_keep_views_of_spilled_objects.settings(&[MEMORY_8, DISK_256]),
    crash_releases_views.settings(&[MEMORY_8, NO_DISK]).only(PYMP),
    full_store_names_the_holders.settings(&[MEMORY_8, DISK_4]).only(PYMP),
    full_store_without_spilling_is_an_error.settings(&[MEMORY_8, NO_DISK]).only(PYMP),
    object_larger_than_memory_and_disk_is_an_error.settings(&[MEMORY_8, DISK_4]).only(PYMP),
    full_disk_is_an_error.not_spmd().bare().only(PYMP),
    unusable_spill_folder_is_an_error.not_spmd().bare().only(PYMP),
    spill_folder_stays_empty.not_spmd().bare().only(PYMP), memory_stays_flat.settings(&[MEMORY_16]),
    result_is_not_copied.settings(&[MEMORY_16, NO_DISK]).only(PYMP),
];

pub(super) const MEMORY_8: (&str, &str) = ("UNIDIST_OBJECT_STORE_MEMORY", "8MiB");
pub(super) const MEMORY_16: (&str, &str) = ("UNIDIST_OBJECT_STORE_MEMORY", "16MiB");
pub(super) const DISK_256: (&str, &str) = ("UNIDIST_SPILL_LIMIT", "256MiB");
const DISK_4: (&str, &str) = ("UNIDIST_SPILL_LIMIT", "4MiB");
const NO_DISK: (&str, &str) = ("UNIDIST_SPILL_LIMIT", "0");

/// Programs that the cases start.
pub(super) const PROGRAMS: &[Case] = cases!["store_programs":
    fills_its_disk.bare().settings(&[MEMORY_8, DISK_256]),
    spills_and_stays.bare().settings(&[MEMORY_8, DISK_256]),
];

/// Distinct bytes for each number.
pub(super) fn pattern(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 8).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn is_pattern(seed: usize, len: usize, bytes: &[u8]) -> bool {
    bytes == pattern(seed, len)
}

/// The error of a full store.
fn full<T>(result: unidist::Result<T>) -> Option<Box<StoreFull>> {
    match result {
        Ok(_) => None,
        Err(Error::StoreFull(full)) => Some(full),
        Err(error) => panic!("{error:?}"),
    }
}

/// Sizes of objects: in messages, in one page and more, in many.
const SIZES: [usize; 7] = [100, 40_000, 3 * MIB, 300_000, 70_000, MIB, 4097 * 17];

struct Checker;

#[remote]
impl Checker {
    #[new]
    fn new() -> Self {
        Checker
    }

    fn are_right(&self, first: usize, data: Vec<SharedSlice<u8>>) -> bool {
        (first..).zip(data).all(|(seed, bytes)| is_pattern(seed, bytes.len(), &bytes))
    }
}

/// A program may hold several times the memory limit, and reads everything back: itself, in tasks and in actors.
fn objects_above_the_memory_limit() -> Result {
    let mut refs = Vec::new();
    let mut total = 0;
    while total < 48 * MIB {
        let len = SIZES[refs.len() % SIZES.len()];
        refs.push(put_slice(&pattern(refs.len(), len))?);
        total += len;
    }
    if is_parallel() {
        let usage = store_usage()?;
        assert!(usage.used <= usage.limit && usage.used + usage.spilled >= 47 * MIB as u64, "{usage:?}");
        assert!(usage.spilled > 0 && usage.spilled <= usage.spill_limit, "{usage:?}");
    }
    for (seed, reference) in refs.iter().enumerate() {
        assert!(is_pattern(seed, SIZES[seed % SIZES.len()], &get(reference)?), "object {seed}");
    }
    let is_right = |seed: usize, bytes: SharedSlice<u8>| is_pattern(seed, bytes.len(), &bytes);
    let checks: Vec<_> = refs.iter().enumerate().map(|(seed, data)| is_right.remote(seed, data)).collect();
    assert!(get(checks)?.into_iter().all(|right| right));
    let checker = Checker::remote();
    for first in (0..refs.len()).step_by(5) {
        let some = &refs[first..refs.len().min(first + 5)];
        assert!(get(checker.are_right.remote(first, some))?, "from object {first}");
    }
    drop((refs, checker));
    assert_all_freed();
    Ok(())
}

/// The same for objects that tasks make and put.
fn results_above_the_memory_limit() -> Result {
    let makes = |seed: usize| pattern(seed, MIB / 4);
    let results: Vec<_> = (0..40).map(|seed| makes.remote(seed)).collect();
    let puts = |seed: usize| put_slice(&pattern(seed, MIB)).unwrap();
    let nested: Vec<_> = (40..80).map(|seed| puts.remote(seed)).collect();
    for (seed, result) in results.iter().enumerate().rev() {
        assert!(is_pattern(seed, MIB / 4, &get(result)?), "result {seed}");
    }
    for (seed, inner) in (40..).zip(get(&nested)?) {
        assert!(is_pattern(seed, MIB, &get(inner)?), "object {seed}");
    }
    Ok(())
}

/// Puts and drops more than the store holds, so that freed memory is reused.
fn churn() -> Result {
    for round in 0..5 {
        let refs = (0..10).map(|n| put_slice(&pattern(1000 + round + n, MIB)));
        drop(refs.collect::<unidist::Result<Vec<_>>>()?);
    }
    Ok(())
}

/// A view does not change while it is held: of an object in memory, of one on disk, and after its ref was dropped.
fn view_stays_unchanged() -> Result {
    let refs = (0..12).map(|seed| put_slice(&pattern(seed, MIB))).collect::<unidist::Result<Vec<_>>>()?;
    let views: Vec<_> = (0..12).step_by(4).map(|at| (at, get(&refs[at]).unwrap())).collect();
    churn()?;
    drop(refs);
    churn()?;
    for (seed, view) in &views {
        assert!(is_pattern(*seed, MIB, view), "object {seed}");
    }
    drop(views);
    assert_all_freed();
    Ok(())
}

#[remote]
fn churns_in_between(seed: usize, data: SharedSlice<u8>) -> unidist::Result<bool> {
    let before = is_pattern(seed, MIB, &data);
    churn()?;
    Ok(before && is_pattern(seed, MIB, &data))
}

/// Arguments of running calls are not moved.
fn arguments_of_running_calls_stay() -> Result {
    let calls: Vec<_> = (0..6)
        .map(|seed| Ok(churns_in_between.remote(seed, put_slice(&pattern(seed, MIB))?)))
        .collect::<unidist::Result<_>>()?;
    assert_eq!(get(calls)?, [true; 6]);
    Ok(())
}

struct Keeper {
    kept: Vec<(usize, SharedSlice<u8>)>,
}

#[remote]
impl Keeper {
    #[new]
    fn new() -> Self {
        Keeper { kept: Vec::new() }
    }

    fn keep(&mut self, seed: usize, data: SharedSlice<u8>) {
        self.kept.push((seed, data));
    }

    fn are_right(&self) -> bool {
        self.kept.iter().all(|(seed, data)| is_pattern(*seed, data.len(), data))
    }

    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// An actor may keep views of more than fits into memory.
fn actors_keep_views_of_spilled_objects() -> Result {
    let refs = (0..20).map(|seed| put_slice(&pattern(seed, MIB))).collect::<unidist::Result<Vec<_>>>()?;
    let keeper = Keeper::remote();
    for (seed, data) in refs.iter().enumerate().take(14) {
        get(keeper.keep.remote(seed, data))?;
    }
    drop(refs);
    churn()?;
    assert!(get(keeper.are_right.remote())?);
    drop(keeper);
    assert_all_freed();
    Ok(())
}

/// A crash releases the views of the dead process.
fn crash_releases_views() -> Result {
    let keeper = Keeper::remote();
    for seed in 0..6 {
        get(keeper.keep.remote(seed, put_slice(&pattern(seed, MIB))?))?;
    }
    let process = rustix::process::Pid::from_raw(get(keeper.process.remote())? as i32).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    assert!(process::wait_for_end(process, BOUND).unwrap());
    assert!(get(keeper.are_right.remote()).is_err());
    assert!(put_slice(&pattern(9, 7 * MIB)).is_ok());
    Ok(())
}

/// When memory and disk are full, the error lists the holders and their bytes; dropped objects free memory.
fn full_store_names_the_holders() -> Result {
    let keeper = Keeper::remote();
    for seed in 0..3 {
        get(keeper.keep.remote(seed, put_slice(&pattern(seed, MIB))?))?;
    }
    let view = get(put_slice(&pattern(3, 2 * MIB))?)?;
    let mut refs = Vec::new();
    let error = loop {
        assert!(refs.len() < 20, "the limits do not hold");
        match put(pattern(100 + refs.len(), MIB)) {
            Ok(reference) => refs.push(reference),
            other => break full(other).unwrap(),
        }
    };
    let text = error.to_string();
    assert!(refs.len() >= 5, "{} fit; {text}", refs.len());
    assert_eq!((error.limit, error.spill_limit), (8 * MIB as u64, 4 * MIB as u64), "{text}");
    let held = |wanted: fn(&HeldBy) -> bool| {
        let holder = error.holders.iter().find(|holder| wanted(&holder.by));
        let holder = holder.unwrap_or_else(|| panic!("{text} does not list every holder"));
        (holder.objects, ((holder.memory + holder.spilled) as usize).div_ceil(MIB))
    };
    let is_program = |process: &unidist::ProcessId| process.number() == 0;
    assert!(matches!(held(|by| matches!(by, HeldBy::Views(p) if p.number() > 0)), (3, 3 | 4)), "{text}");
    assert_eq!(held(|by| matches!(by, HeldBy::Views(p) if p.number() == 0)).0, 1, "{text}");
    assert_eq!(held(|by| matches!(by, HeldBy::Refs(p) if p.number() == 0)).0, refs.len() as u64, "{text}");
    assert!(error.holders.iter().all(|holder| !matches!(&holder.by, HeldBy::Writing(p) if is_program(p))));
    for part in
        ["1.0 MiB requested", "of 8.0 MiB", "of 4.0 MiB on disk", "views in worker", "refs of the program"]
    {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    for (seed, reference) in (100..).zip(&refs) {
        assert!(is_pattern(seed, MIB, &get(reference)?), "object {seed}");
    }
    refs.truncate(refs.len() - 3);
    refs.push(put(pattern(1, 2 * MIB))?);
    assert!(is_pattern(3, 2 * MIB, &view) && get(keeper.are_right.remote())?);
    Ok(())
}

/// `UNIDIST_SPILL_LIMIT=0`: nothing goes to disk. The error is the task's if it comes up there.
fn full_store_without_spilling_is_an_error() -> Result {
    let kept = put(pattern(1, 5 * MIB))?;
    let error = full(put(pattern(2, 5 * MIB))).unwrap();
    assert_eq!((error.spilled, error.spill_limit), (0, 0));
    assert!(!error.to_string().contains("disk"), "{error}");
    let makes = || pattern(3, 5 * MIB);
    assert_eq!(crate::support::failure(makes.remote()), unidist::ErrorKind::StoreFull);
    assert_eq!(store_usage()?.spilled, 0);
    drop(kept);
    assert!(is_pattern(3, 5 * MIB, &get(makes.remote())?));
    Ok(())
}

/// An object that fits neither into memory nor on disk is an error, and does not affect other objects.
fn object_larger_than_memory_and_disk_is_an_error() -> Result {
    let kept = put(pattern(1, 5 * MIB))?;
    assert!(full(put(pattern(2, 9 * MIB))).is_some());
    assert_eq!(store_usage()?.spilled, 0, "objects had to go for nothing");
    assert!(is_pattern(1, 5 * MIB, &get(kept)?));
    Ok(())
}

/// A folder of this case.
fn scratch() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("unidist-tests-{}-spill", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Prepares a command to run one of the programs with this folder for its objects.
fn prepare(command: &mut Command, name: &str, folder: &PathBuf) {
    let program = PROGRAMS.iter().find(|program| program.name == name).unwrap();
    runner::command_for(command, PYMP, &[*program]);
    command.env("UNIDIST_SPILL_DIR", folder);
}

/// A full disk is an error with the system's message, not a signal. The test needs permission to mount a small disk
/// that only its own process sees, and is skipped otherwise.
fn full_disk_is_an_error() -> Result {
    let folder = scratch();
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=4m none \"$1\" || exit 77; shift; exec \"$@\"";
    command
        .args(["--mount", "--", "sh", "-c", script, "sh"])
        .arg(&folder)
        .arg(std::env::current_exe().unwrap());
    prepare(&mut command, "fills_its_disk", &folder);
    let ran = process::run(&mut command, BOUND);
    std::fs::remove_dir(&folder).unwrap();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => {
            eprintln!("skipped: a disk cannot be mounted here: unshare: {error}");
            return Ok(());
        }
    };
    match ran.status.map(|status| (status.success(), status.code())) {
        Some((true, _)) => {}
        Some((_, Some(77))) => eprintln!("skipped: a disk cannot be mounted here: {}", ran.output),
        Some((_, Some(1))) if ran.output.contains("unshare failed") => eprintln!("skipped: {}", ran.output),
        other => panic!("{other:?}: {}", ran.output),
    }
    Ok(())
}

fn fills_its_disk() -> Result {
    let session = init()?;
    let mut refs = Vec::new();
    let error = loop {
        assert!(refs.len() < 20, "the disk is not full");
        match put(pattern(refs.len(), MIB)) {
            Ok(reference) => refs.push(reference),
            other => break full(other).unwrap(),
        }
    };
    let text = error.to_string();
    assert!(error.spill_error.is_some() && text.contains("No space left"), "{text}");
    assert!(refs.len() >= 9, "{} fit: {text}", refs.len());
    for _ in 0..3 {
        for (seed, reference) in refs.iter().enumerate() {
            assert!(is_pattern(seed, MIB, &get(reference)?), "object {seed}");
        }
        let usage = store_usage()?;
        assert!(usage.spilled > 0, "{usage:?}");
        drop(refs.remove(0)); // which is on disk
        refs.insert(0, put(pattern(0, MIB))?);
    }
    drop(refs);
    assert_all_freed();
    drop(session);
    Ok(())
}

/// An unusable folder is an error of `init` that names the variable, the folder and the reason, unless spilling is
/// disabled.
fn unusable_spill_folder_is_an_error() -> Result {
    SpillDir::put(PathBuf::from("/no/such/folder"))?;
    let error = init().unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Unusable { .. })), "{error:?}");
    let text = error.to_string();
    for part in ["UNIDIST_SPILL_DIR", "/no/such/folder", "No such file"] {
        assert!(text.contains(part), "{text} does not name {part}");
    }
    SpillLimit::put(0)?;
    init().map(drop)
}

fn spills_and_stays() -> Result {
    let _session = init()?;
    let _refs = (0..20).map(|seed| put(pattern(seed, MIB))).collect::<unidist::Result<Vec<_>>>()?;
    let keeper = Keeper::remote();
    get(keeper.keep.remote(0_usize, put_slice(&pattern(0, MIB))?))?;
    assert!(store_usage()?.spilled > 0);
    println!("ready");
    std::io::stdout().flush().map_err(|error| Error::system("stdout", error))?;
    loop {
        std::thread::park();
    }
}

/// The folder looks empty while objects are spilled, and is empty after the program was killed.
fn spill_folder_stays_empty() -> Result {
    let folder = scratch();
    let mut command = Command::new(std::env::current_exe().unwrap());
    prepare(&mut command, "spills_and_stays", &folder);
    command.env(MARK, std::env::var(MARK).unwrap()); // whatever it leaves is this case's
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let while_it_ran = std::fs::read_dir(&folder).unwrap().count();
    child.kill().unwrap();
    child.wait().unwrap();
    let afterwards = std::fs::read_dir(&folder).unwrap().count();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!((line.trim(), while_it_ran, afterwards), ("ready", 0, 0));
    Ok(())
}

/// Resident memory of this program and of its workers, in kB.
fn resident() -> u64 {
    let workers = process::with_environment(MARK, &std::env::var(MARK).unwrap());
    let of = |process: u32| {
        let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        let pages = pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.unwrap_or_default() * rustix::param::page_size() as u64 / 1024
    };
    workers.into_iter().chain([std::process::id()]).map(of).sum()
}

/// Puts, reads and drops, small and shared objects.
fn cycles(count: usize) -> Result {
    let large = pattern(1, 100_000);
    for n in 0..count {
        assert_eq!(get(put(n)?)?, n);
        if n % 10 == 0 {
            assert_eq!(get(put_slice(&large)?)?.len(), large.len());
        }
    }
    Ok(())
}

/// Memory use does not grow when the program and tasks make and drop many objects.
fn memory_stays_flat() -> Result {
    let in_tasks = || {
        let calls: Vec<_> = (0..2).map(|_| (|| cycles(2000).unwrap()).remote()).collect();
        get(calls).map(drop)
    };
    cycles(2000)?;
    in_tasks()?;
    let before = resident();
    for _ in 0..4 {
        cycles(2000)?;
        in_tasks()?;
    }
    let after = resident();
    assert!(after < before + (8 << 10), "{before} kB before, {after} kB after");
    Ok(())
}

/// A result that a task builds in the store's memory is not copied: the store need not have room for two.
fn result_is_not_copied() -> Result {
    let builds = |seed: usize| {
        SharedSlice::build(10 * MIB, |out: &mut [u8]| out.copy_from_slice(&pattern(seed, 10 * MIB))).unwrap()
    };
    for seed in 0..3 {
        assert!(is_pattern(seed, 10 * MIB, &get(builds.remote(seed))?));
    }
    Ok(())
}

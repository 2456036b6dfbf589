//! `fuzz`: what is read from others, fed with anything.
//!
//! The targets are a workspace of their own, `fuzz`, which cargo-fuzz understands as well. This builds them with the
//! compiler that builds everything else.

use crate::Result;
use crate::process;
use crate::workspace::Workspace;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use unidist_engine::fuzz::targets;

const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// What a run takes beside its seconds.
const GRACE: Duration = Duration::from_secs(60);

/// The coverage that the fuzzer goes by, as cargo-fuzz asks for it.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares \
                     -Cllvm-args=-simplifycfg-branch-fold-threshold=0";

/// The arguments of `fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Time for each target, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Build with the address sanitizer, an unstable compiler feature; slower.
    #[arg(long)]
    address: bool,
    /// The targets; all by default.
    targets: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let all = targets();
    if let Some(wrong) = arguments.targets.iter().find(|name| all.iter().all(|(known, _)| known != *name)) {
        let known: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        return Err(format!("no fuzz target `{wrong}`: expected one of {}", known.join(", ")).into());
    }
    let host = process::host(&workspace.root)?;
    let kind = if arguments.address { "address" } else { "plain" };
    let folder = workspace.target().join("fuzz");
    let mut build = process::cargo(&workspace.root.join("fuzz"));
    // With a target named, what runs while building (build scripts, macros) is built without the flags.
    build.args(["build", "--quiet", "--release", "--bins", "--target", &host]);
    build.env("CARGO_TARGET_DIR", folder.join(kind)).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if arguments.address {
        build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", format!("{FLAGS} -Zsanitizer=address"));
    } else {
        build.env("RUSTFLAGS", FLAGS);
    }
    process::run(&mut build, BUILD_LIMIT)?;
    for (name, examples) in all {
        if arguments.targets.is_empty() || arguments.targets.iter().any(|wanted| wanted == name) {
            let program = folder.join(kind).join(&host).join("release").join(name);
            fuzz(&program, &folder, name, &examples, arguments.seconds)?;
        }
    }
    Ok(())
}

/// Keeps the corpus for the next run, and failing inputs beside it.
fn fuzz(program: &Path, folder: &Path, name: &str, examples: &[Vec<u8>], seconds: u64) -> Result {
    let (corpus, failures) = (folder.join("corpus").join(name), folder.join("failures").join(name));
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&failures)?;
    for (number, example) in examples.iter().enumerate() {
        std::fs::write(corpus.join(format!("example-{number}")), example)?;
    }
    let mut run = Command::new(program);
    run.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", failures.display()));
    run.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=8192", "-print_final_stats=1"]).arg(&corpus);
    // libFuzzer's output is long.
    let log = folder.join(name).with_extension("log");
    run.stderr(File::create(&log)?);
    let done = process::run(&mut run, Duration::from_secs(seconds) + GRACE);
    let output = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
    if let Err(error) = done {
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(40)..].iter().for_each(|line| eprintln!("{line}"));
        return Err(
            format!("{error}; the input is in {}, more in {}", failures.display(), log.display()).into()
        );
    }
    let runs = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{name}: {} inputs", runs.unwrap_or("?").trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_match_the_manifest() {
        let manifest: toml::Table =
            Workspace::load().unwrap().read("fuzz/Cargo.toml").unwrap().parse().unwrap();
        let built = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
        assert!(built.eq(targets().iter().map(|(name, _)| *name)));
    }

    #[test]
    fn unknown_targets_are_errors() {
        let arguments = Arguments { seconds: 1, address: false, targets: vec!["what".into()] };
        assert!(
            run(&arguments).unwrap_err().to_string().contains("expected one of codec, handshake, messages")
        );
    }
}

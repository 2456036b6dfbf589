//! `footprint`: what users build, and which Rust they need for it.

use crate::workspace::Workspace;
use crate::{Result, process};
use cargo_metadata::semver::Version;
use cargo_metadata::{MetadataCommand, Package};
use std::collections::BTreeSet;

/// A build that users see, and its limit.
struct Build {
    what: &'static str,
    package: &'static str,
    /// The highest number of crates from the registry.
    max_crates: usize,
}

const BUILDS: [Build; 2] = [
    Build { what: "the first command of the README", package: "unidist-examples", max_crates: 55 },
    Build { what: "a crate that depends on unidist", package: "unidist-downstream", max_crates: 45 },
];

/// Crates that build scripts use to build or find code in C.
const C_TOOLS: [&str; 6] = ["autotools", "bindgen", "cc", "cmake", "pkg-config", "vcpkg"];
/// Crates with the name of a binding that build no C.
const PURE_BINDINGS: [&str; 1] = ["linux-raw-sys"];

/// The arguments of `footprint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// List the crates.
    #[arg(long)]
    verbose: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let mut wrong = Vec::new();
    for build in BUILDS {
        let tree = tree(&workspace, build.package)?;
        let crates = registry_crates(&tree);
        println!("{}: {} registry crates, at most {}", build.what, crates.len(), build.max_crates);
        if arguments.verbose {
            crates.iter().for_each(|name| println!("  {name}"));
        }
        wrong.extend(check(&build, &crates));
    }
    wrong.extend(too_new(&workspace)?);
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong.join("\n").into()),
    }
}

/// The crates that are built for a package with its default features, one a line, from the registry or not.
fn tree(workspace: &Workspace, package: &str) -> Result<String> {
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["tree", "--locked", "--package", package, "--edges", "normal,build"]);
    cargo.args(["--prefix", "none", "--no-dedupe", "--format", "{p}"]);
    let output = cargo.output()?;
    process::End::Exited(output.status)
        .check("cargo tree")
        .map_err(|error| format!("{error}\n{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The crates in a tree that are not members: `name vVERSION`. Those have their folder in parentheses.
fn registry_crates(tree: &str) -> BTreeSet<&str> {
    let lines = tree.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("(/"));
    lines.map(|line| line.split(" (").next().unwrap_or(line)).collect()
}

fn check(build: &Build, crates: &BTreeSet<&str>) -> Vec<String> {
    let mut wrong = Vec::new();
    if crates.len() > build.max_crates {
        let (count, most) = (crates.len(), build.max_crates);
        wrong.push(format!("{} builds {count} registry crates, more than {most}", build.what));
    }
    for line in crates {
        let name = line.split(' ').next().unwrap_or(line);
        let binding = name.ends_with("-sys") && !PURE_BINDINGS.contains(&name);
        if binding || C_TOOLS.contains(&name) {
            wrong.push(format!("{} builds or links C: by {line}", build.what));
        }
    }
    wrong
}

/// The crates of the workspace's resolution on this platform that need a newer Rust than the workspace says.
fn too_new(workspace: &Workspace) -> Result<Vec<String>> {
    let host = process::host(&workspace.root)?;
    let options = ["--locked", "--filter-platform", &host].map(str::to_owned).to_vec();
    let metadata = MetadataCommand::new().other_options(options).exec()?;
    let ours = metadata.workspace_packages().into_iter().filter_map(|package| package.rust_version.clone());
    let ours = ours.max().ok_or("no member has a rust-version")?;
    println!("{} resolved crates need Rust {ours} or older", metadata.packages.len());
    Ok(newer_than(&ours, &metadata.packages))
}

fn newer_than(ours: &Version, packages: &[Package]) -> Vec<String> {
    let newer = packages.iter().filter_map(|package| Some((package, package.rust_version.as_ref()?)));
    let newer = newer.filter(|(_, version)| *version > ours);
    newer
        .map(|(package, version)| format!("{} {} needs Rust {version}", package.name, package.version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "a v0.1.0 (/src/a)\nserde v1.0.1\n\ncc v1.2.0\nserde_derive v1.0.1 (proc-macro)\n\
                        serde v1.0.1\nlinux-raw-sys v0.1.0\nx-sys v2.0.0\n";

    #[test]
    fn members_and_repetitions_do_not_count() {
        let crates = registry_crates(TREE);
        assert_eq!(crates.len(), 5);
        assert!(crates.contains("serde_derive v1.0.1") && !crates.contains("a v0.1.0"));
    }

    #[test]
    fn too_many_crates_and_c_are_found() {
        let build = Build { what: "it", package: "a", max_crates: 4 };
        assert_eq!(
            check(&build, &registry_crates(TREE)),
            [
                "it builds 5 registry crates, more than 4",
                "it builds or links C: by cc v1.2.0",
                "it builds or links C: by x-sys v2.0.0"
            ]
        );
    }

    #[test]
    fn crates_for_a_newer_rust_are_found() {
        let metadata = MetadataCommand::new().no_deps().exec().unwrap();
        let (old, current) = (Version::new(1, 60, 0), Version::new(1, 88, 0));
        assert_eq!(newer_than(&old, &metadata.packages).len(), metadata.packages.len());
        assert!(newer_than(&current, &metadata.packages).is_empty());
    }
}

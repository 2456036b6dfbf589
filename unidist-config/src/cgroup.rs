//! The memory limit of the control group (cgroup) that this process runs in, of version 1 or 2.
//!
//! A group may use no more than each group around it, and the limit is often set further out: a batch system sets it on
//! the job, and the program runs in a step of the job. So the smallest limit on the path from the process's group to the
//! root counts. In a container with a namespace of its own for control groups the path is `/`, which is the container's
//! group; where the path leads out of the part that is mounted, the mount point stands for it.

use std::path::{Component, Path, PathBuf};

/// The memory limit of this process's control group, in bytes: the smallest one from its own group to the root. `None` if
/// there is no limit, or no control group can be read.
pub fn memory_limit() -> Option<u64> {
    limit_in(&from_system)
}

/// How many processes of this process's own control group the kernel has killed because memory ran out. `None` if it does
/// not say.
pub fn killed_processes() -> Option<u64> {
    killed_in(&from_system)
}

fn from_system(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Reads a file of the system.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

fn limit_in(read: Read<'_>) -> Option<u64> {
    let limits = groups(read).into_iter().flat_map(|group| {
        let files = group.version.limits();
        let folders: Vec<_> = group.outward().map(Path::to_owned).collect();
        folders.into_iter().flat_map(move |folder| files.iter().map(move |file| folder.join(file)))
    });
    limits.filter_map(|file| parse_limit(&read(&file)?)).min()
}

fn killed_in(read: Read<'_>) -> Option<u64> {
    groups(read).iter().find_map(|group| {
        let events = read(&group.own.join(group.version.events()))?;
        events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The files with limits of a group. Above `memory.high` the kernel slows the processes down until they give memory back,
    /// which shared memory without swap cannot.
    fn limits(self) -> &'static [&'static str] {
        match self {
            Version::One => &["memory.limit_in_bytes"],
            Version::Two => &["memory.max", "memory.high"],
        }
    }

    /// The file with the number of killed processes.
    fn events(self) -> &'static str {
        match self {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        }
    }
}

/// A group as a folder below the place where its hierarchy is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    version: Version,
    mount: PathBuf,
    own: PathBuf,
}

impl Group {
    /// The folders of the group and of those around it.
    fn outward(&self) -> impl Iterator<Item = &Path> {
        self.own.ancestors().take_while(|folder| folder.starts_with(&self.mount))
    }
}

/// The groups of this process that may limit its memory, in all hierarchies and mounts.
fn groups(read: Read<'_>) -> Vec<Group> {
    let memberships = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mounts = read(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let path_of = |wanted| memberships.lines().filter_map(membership).find(|(version, _)| *version == wanted);
    let groups = mounts.lines().filter_map(mount).filter_map(|mount| {
        let (version, path) = path_of(mount.version)?;
        let own = mount.point.join(inside(path, &mount.root).unwrap_or(Path::new("")));
        Some(Group { version, mount: mount.point, own })
    });
    groups.collect()
}

/// The version and the path in a line of `/proc/self/cgroup`, if its hierarchy has the memory controller or is that of
/// version 2 (see cgroups(7)).
fn membership(line: &str) -> Option<(Version, &Path)> {
    let (id, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let version = match (id, controllers) {
        ("0", "") => Version::Two,
        _ if controllers.split(',').any(|name| name == "memory") => Version::One,
        _ => return None,
    };
    Some((version, Path::new(path)))
}

struct Mount {
    version: Version,
    /// The group that is mounted.
    root: PathBuf,
    point: PathBuf,
}

/// A mount of control groups in a line of `/proc/self/mountinfo` (see proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<Mount> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let version = match (kind.next()?, kind.nth(1).unwrap_or_default()) {
        ("cgroup2", _) => Version::Two,
        ("cgroup", options) if options.split(',').any(|name| name == "memory") => Version::One,
        _ => return None,
    };
    let mut place = place.split(' ').skip(3);
    Some(Mount { version, root: unescaped(place.next()?), point: unescaped(place.next()?) })
}

/// A path in `/proc/self/mountinfo`, which has spaces and the like as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                path.push(char::from(code));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path.into()
}

/// The path of a group inside the part of the hierarchy that is mounted; `None` if it lies outside.
fn inside<'a>(path: &'a Path, root: &Path) -> Option<&'a Path> {
    let leads_out = path.components().any(|part| part == Component::ParentDir);
    path.strip_prefix(root).ok().filter(|_| !leads_out)
}

/// The limit in a file: `max`, or version 1's largest number of whole pages, is none.
fn parse_limit(text: &str) -> Option<u64> {
    const NONE: u64 = 1 << 62;
    text.trim().parse().ok().filter(|limit| *limit < NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by path.
    type Tree = [(&'static str, &'static str)];

    fn read(tree: &Tree) -> impl Fn(&Path) -> Option<String> + '_ {
        |path| tree.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).to_owned())
    }

    fn limit(tree: &Tree) -> Option<u64> {
        limit_in(&read(tree))
    }

    /// A user's session of systemd, version 2 alone.
    const SYSTEMD: &Tree = &[
        ("/proc/self/cgroup", "0::/user.slice/user-1000.slice/session-3.scope\n"),
        (
            "/proc/self/mountinfo",
            "24 30 0:22 / /proc rw,nosuid - proc proc rw\n\
             35 29 0:30 / /sys/fs/cgroup rw,nosuid,nodev shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n",
        ),
        ("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/memory.max", "max\n"),
        ("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/memory.high", "max\n"),
        ("/sys/fs/cgroup/user.slice/user-1000.slice/memory.max", "8589934592\n"),
        ("/sys/fs/cgroup/user.slice/user-1000.slice/memory.high", "6442450944\n"),
        ("/sys/fs/cgroup/user.slice/memory.max", "max\n"),
    ];

    /// A Docker container on a host with version 2, with its own namespace of control groups.
    const CONTAINER: &Tree = &[
        ("/proc/self/cgroup", "0::/\n"),
        (
            "/proc/self/mountinfo",
            "1531 1523 0:30 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
        ),
        ("/sys/fs/cgroup/memory.max", "314572800\n"),
        ("/sys/fs/cgroup/memory.high", "max\n"),
        ("/sys/fs/cgroup/memory.events", "low 0\nhigh 0\nmax 41\noom 2\noom_kill 2\noom_group_kill 0\n"),
    ];

    /// A Docker container on a host with version 1, which shows the host's path.
    const CONTAINER_V1: &Tree = &[
        (
            "/proc/self/cgroup",
            "9:cpu,cpuacct:/docker/4f6e\n4:memory:/docker/4f6e\n1:name=systemd:/docker/4f6e\n",
        ),
        (
            "/proc/self/mountinfo",
            "715 714 0:28 /docker/4f6e /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
             719 714 0:32 /docker/4f6e /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n",
        ),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "314572800\n"),
        ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"),
    ];

    /// A task of a Slurm job, version 1: the job has the limit.
    const SLURM_V1: &Tree = &[
        (
            "/proc/self/cgroup",
            "8:cpuset:/slurm/uid_1000/job_7/step_0\n5:memory:/slurm/uid_1000/job_7/step_0/task_2\n",
        ),
        (
            "/proc/self/mountinfo",
            "36 25 0:33 / /sys/fs/cgroup/memory rw shared:17 - cgroup cgroup rw,memory\n",
        ),
        (
            "/sys/fs/cgroup/memory/slurm/uid_1000/job_7/step_0/task_2/memory.limit_in_bytes",
            "9223372036854771712\n",
        ),
        ("/sys/fs/cgroup/memory/slurm/uid_1000/job_7/step_0/memory.limit_in_bytes", "17179869184\n"),
        ("/sys/fs/cgroup/memory/slurm/uid_1000/job_7/memory.limit_in_bytes", "4294967296\n"),
        ("/sys/fs/cgroup/memory/slurm/uid_1000/memory.limit_in_bytes", "9223372036854771712\n"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854710272\n"),
    ];

    /// The same with version 2.
    const SLURM_V2: &Tree = &[
        ("/proc/self/cgroup", "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n"),
        ("/proc/self/mountinfo", "35 29 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/user/task_0/memory.max", "max\n"),
        ("/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max", "max\n"),
        ("/sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", "2147483648\n"),
        ("/sys/fs/cgroup/system.slice/slurmstepd.scope/memory.max", "max\n"),
    ];

    /// A hybrid: the controllers are in version 1, version 2 has none.
    const HYBRID: &Tree = &[
        (
            "/proc/self/cgroup",
            "6:memory:/system.slice/app.service\n1:name=systemd:/x\n0::/system.slice/app.service\n",
        ),
        (
            "/proc/self/mountinfo",
            "33 32 0:29 / /sys/fs/cgroup/unified rw shared:6 - cgroup2 cgroup2 rw,nsdelegate\n\
             41 32 0:37 / /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory\n",
        ),
        ("/sys/fs/cgroup/memory/system.slice/app.service/memory.limit_in_bytes", "1073741824\n"),
        ("/sys/fs/cgroup/memory/system.slice/memory.limit_in_bytes", "9223372036854771712\n"),
    ];

    #[test]
    fn limit_is_the_smallest_on_the_path() {
        assert_eq!(limit(SYSTEMD), Some(6_442_450_944), "memory.high of an outer group");
        assert_eq!(limit(CONTAINER), Some(314_572_800));
        assert_eq!(limit(CONTAINER_V1), Some(314_572_800));
        assert_eq!(limit(SLURM_V1), Some(4 << 30));
        assert_eq!(limit(SLURM_V2), Some(2 << 30));
        assert_eq!(limit(HYBRID), Some(1 << 30));
    }

    #[test]
    fn no_limit_without_groups_or_with_unlimited_ones() {
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&SYSTEMD[..3]), None, "memory.max of the own group is `max`");
        assert_eq!(limit(&SLURM_V1[..3]), None, "the largest number of whole pages");
        assert_eq!(limit(&CONTAINER[..1]), None, "not mounted");
    }

    #[test]
    fn path_outside_of_the_mount_stands_for_the_mount_point() {
        for path in ["0::/../other.scope\n", "0::/elsewhere\n", "0::/container/../x\n"] {
            let tree: &Tree = &[
                ("/proc/self/cgroup", path),
                ("/proc/self/mountinfo", "1 2 0:30 /container /sys/fs/cgroup ro - cgroup2 cgroup rw\n"),
                ("/sys/fs/cgroup/memory.max", "4096\n"),
            ];
            assert_eq!(limit(tree), Some(4096), "{path}");
        }
    }

    #[test]
    fn damaged_files_are_no_limit() {
        for (memberships, mounts, limits) in [
            ("0:/\n", CONTAINER[1].1, "4096"),
            ("\n::\n", CONTAINER[1].1, "4096"),
            ("0::/\n", "1 2 0:30 /\n - cgroup2\n1 2 3 - cgroup2 x\n", "4096"),
            ("0::/\n", CONTAINER[1].1, "-1"),
            ("0::/\n", CONTAINER[1].1, "many\n"),
            ("0::/\n", CONTAINER[1].1, ""),
        ] {
            let files = [
                ("/proc/self/cgroup", memberships),
                ("/proc/self/mountinfo", mounts),
                ("/sys/fs/cgroup/memory.max", limits),
            ];
            let read = |path: &Path| {
                files.iter().find(|file| path == Path::new(file.0)).map(|file| file.1.to_owned())
            };
            assert_eq!(limit_in(&read), None, "{files:?}");
        }
    }

    #[test]
    fn killed_processes_are_those_of_the_own_group() {
        assert_eq!(killed_in(&read(CONTAINER)), Some(2));
        assert_eq!(killed_in(&read(CONTAINER_V1)), Some(5));
        assert_eq!(killed_in(&read(SYSTEMD)), None);
    }

    #[test]
    fn mount_point_may_contain_spaces() {
        assert_eq!(unescaped(r"/mnt/control\040groups\134x"), Path::new(r"/mnt/control groups\x"));
        assert_eq!(unescaped(r"/a\9"), Path::new(r"/a\9"));
    }
}

//! Tests with real virtual hosts. Without root they print that they are skipped.

use super::*;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn cluster(hosts: usize) -> Option<Cluster> {
    if let Err(error) = check_available() {
        eprintln!("skipped: {error}");
        return None;
    }
    Some(Cluster::up(hosts).unwrap())
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Whether the first host reaches the second: without a listener, the connection is refused.
fn is_reached(cluster: &Cluster) -> bool {
    let [from, to, ..] = cluster.hosts() else { panic!("too few hosts") };
    let script = format!("exec 3<>/dev/tcp/{to}/9");
    output(cluster.command(from, "timeout").args(["0.5", "bash", "-c", &script])).contains("refused")
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn hosts_have_own_names_and_shared_memory() {
    let Some(cluster) = cluster(2) else { return };
    let hosts = cluster.hosts();
    for host in hosts {
        assert_eq!(output(cluster.command(host, "uname").arg("-n")).trim(), host);
    }
    output(cluster.command(&hosts[0], "touch").arg("/dev/shm/here"));
    assert_eq!(output(cluster.command(&hosts[0], "ls").arg("/dev/shm")), "here\n");
    assert_eq!(output(cluster.command(&hosts[1], "ls").arg("/dev/shm")), "");
    assert!(cluster.shared_memory().unwrap()[0].join("here").exists());
}

#[test]
fn hosts_have_separate_cpus_after_partitioning() {
    let Some(cluster) = cluster(2) else { return };
    let cpus = |host: &String| {
        output(cluster.command(host, "grep").args(["Cpus_allowed_list", "/proc/self/status"]))
    };
    let all: Vec<_> = cluster.hosts().iter().map(cpus).collect();
    assert_eq!(all[0], all[1]);
    if let Err(why) = cluster.partition_cpus() {
        eprintln!("skipped: {why}");
        return;
    }
    let own: Vec<_> = cluster.hosts().iter().map(cpus).collect();
    assert!(own[0] != own[1] && own[0] != all[0] && own[1] != all[1], "{own:?} of {all:?}");
}

#[test]
fn hosts_can_be_disconnected() {
    let Some(cluster) = cluster(2) else { return };
    assert!(eventually(|| is_reached(&cluster)));
    cluster.cut(&cluster.hosts()[1]).unwrap();
    assert!(!is_reached(&cluster));
    cluster.heal(&cluster.hosts()[1]).unwrap();
    assert!(eventually(|| is_reached(&cluster)));
}

#[test]
fn ssh_substitute_behaves_like_ssh() {
    let Some(cluster) = cluster(2) else { return };
    let host = &cluster.hosts()[1];
    let script = "uname -n; echo \"$OTHER.$UNIDIST_CONFORMANCE_TRIAL\"; exit 7";
    let mut agent = Command::new(cluster.ssh_substitute());
    agent.args(["-x", "-q", &format!("root@{host}"), script]);
    agent.envs([("OTHER", "stays"), ("UNIDIST_CONFORMANCE_TRIAL", "the mark")]);
    assert_eq!(output(&mut agent), format!("{host}\n.the mark\n"));
    assert_eq!(agent.stdout(Stdio::null()).status().unwrap().code(), Some(7));
}

#[test]
fn clusters_are_isolated_and_leave_nothing() {
    let (Some(one), Some(two)) = (cluster(1), cluster(1)) else { return };
    assert_ne!(one.hosts(), two.hosts());
    let (host, folder) = (one.hosts()[0].clone(), one.ssh_substitute().parent().unwrap().to_owned());
    let mut sleeps = one.command(&host, "sleep").arg("1000").spawn().unwrap();
    let mut stays = two.command(&two.hosts()[0], "sleep").arg("1000").spawn().unwrap();
    assert!(eventually(|| !network::processes(&host).is_empty()));
    drop(one);
    assert!(!sleeps.wait().unwrap().success());
    assert!(!folder.exists());
    assert!(!Path::new("/run/netns").join(&host).exists());
    assert!(Cluster::of(&host).is_err());
    assert!(stays.try_wait().unwrap().is_none());
    drop(two);
    assert!(!stays.wait().unwrap().success());
}

#[test]
fn abandoned_clusters_are_removed() {
    let Some(left) = cluster(1) else { return };
    let host = left.hosts()[0].clone();
    let mut sleeps = left.command(&host, "sleep").arg("1000").spawn().unwrap();
    // No lock, and nothing that says that it is persistent: as after a kill.
    let left = left.make_persistent().unwrap();
    let of_another_kind = Cluster::up(1).unwrap();
    assert_ne!(of_another_kind.hosts()[0], host);
    assert!(sleeps.try_wait().unwrap().is_none(), "what is kept is removed");
    fs::remove_file(left.ssh_substitute().with_file_name("persistent")).unwrap();
    let _next = Cluster::up(1).unwrap();
    assert!(!sleeps.wait().unwrap().success());
}

#[test]
fn too_many_hosts_are_an_error() {
    let Some(_cluster) = cluster(1) else { return };
    assert!(Cluster::up(0).is_err());
    assert!(Cluster::up(MAX_HOSTS + 1).is_err());
    assert!(Cluster::of("unxz9").is_err());
}

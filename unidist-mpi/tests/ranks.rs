//! The network between two or more ranks of an MPI job, each as a host: `mpiexec -n 2 TEST`. Without a launcher, the program
//! starts itself with `mpiexec`.
//!
//! Every rank runs the same list of tests; with the argument `measure` it measures round trips instead.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use bytes::Bytes;
use std::ops::{Deref, DerefMut};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unidist_backend::WritableBuffer;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};
use unidist_mpi::bench::Ranks;
use unidist_mpi::network::MpiNetwork;

/// The limit of each wait, and the heartbeat time-out: ranks that wait in MPI for the others send no heartbeats.
const LIMIT: Duration = Duration::from_secs(60);
type Test = (&'static str, fn(&Ranks));

const TESTS: [Test; 5] = [
    ("messages arrive in order", messages_arrive_in_order),
    ("transfers of many shapes", transfers_of_many_shapes),
    ("transfers overtake each other", transfers_overtake_each_other),
    ("more than 2 GiB", more_than_2_gib),
    ("silence is a loss", silence_is_a_loss),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if !unidist_mpi::launch::under_launcher() {
        return support::start_myself(&[2, 3], &[]);
    }
    // The other ranks would wait for a rank that has failed.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    let ranks = Ranks::join().unwrap();
    assert!(ranks.size() >= 2);
    let measures = arguments.iter().any(|argument| argument == "measure");
    for (name, test) in TESTS.into_iter().filter(|_| !measures) {
        let start = Instant::now();
        test(&ranks);
        ranks.barrier().unwrap();
        if ranks.rank() == 0 {
            println!("ok {name} ({:.2} s)", start.elapsed().as_secs_f64());
        }
    }
    if measures {
        measure(&ranks);
    }
    ranks.leave();
    ExitCode::SUCCESS
}

/// Polls until there are `count` arrivals.
fn collect(network: &mut MpiNetwork, count: usize) -> Vec<Arrival> {
    let (mut arrivals, end) = (Vec::new(), Instant::now() + LIMIT);
    while arrivals.len() < count {
        network.poll(&mut arrivals);
        assert!(Instant::now() < end, "waited too long: {arrivals:?}");
    }
    arrivals
}

/// Polls until nothing is pending here, and all other ranks have sent a message that nothing is pending there.
fn settle(network: &mut MpiNetwork, ranks: &Ranks) {
    ranks.barrier().unwrap();
    let others = others(ranks);
    others.iter().for_each(|other| network.send(*other, b"settled".to_vec()));
    let is_settled = |arrival: &Arrival| matches!(arrival, Arrival::Message(_, text) if text == b"settled");
    let (mut arrivals, end) = (Vec::new(), Instant::now() + LIMIT);
    while network.is_busy() || arrivals.iter().filter(|arrival| is_settled(arrival)).count() < others.len() {
        network.poll(&mut arrivals);
        assert!(Instant::now() < end, "waited too long: {arrivals:?}");
    }
    // A send may complete after its data has arrived.
    arrivals.retain(|arrival| !is_settled(arrival) && !matches!(arrival, Arrival::Sent(_)));
    assert!(arrivals.is_empty(), "{arrivals:?}");
}

fn others(ranks: &Ranks) -> Vec<HostId> {
    (0..ranks.size()).filter(|rank| *rank != ranks.rank()).map(|rank| HostId::new(rank as u32)).collect()
}

fn messages_arrive_in_order(ranks: &Ranks) {
    let mut network = ranks.network(LIMIT).unwrap();
    let message = |from: usize, number: usize| {
        let len = if number.is_multiple_of(100) { 10_000_000 } else { number };
        let mut message = vec![number as u8; len];
        message.extend_from_slice(&(number as u32).to_le_bytes());
        message.push(from as u8);
        message
    };
    const COUNT: usize = 300;
    for number in 0..COUNT {
        others(ranks).iter().for_each(|other| network.send(*other, message(ranks.rank(), number)));
    }
    let mut next = vec![0; ranks.size()];
    for arrival in collect(&mut network, COUNT * (ranks.size() - 1)) {
        let Arrival::Message(from, text) = arrival else { panic!("{arrival:?}") };
        let number = &mut next[from.place()];
        assert!(text == message(from.place(), *number), "{from}: {number}");
        *number += 1;
    }
    settle(&mut network, ranks);
}

/// Memory of the test, and a function that gets it when the network drops it.
struct Buffer(Vec<u8>, fn(Vec<u8>));

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl WritableBuffer for Buffer {
    fn freeze(mut self: Box<Self>) -> Bytes {
        Bytes::from(std::mem::take(&mut self.0))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            (self.1)(std::mem::take(&mut self.0));
        }
    }
}

/// Checks that the received bytes are those that were sent.
fn check(received: Vec<u8>) {
    let wrong = received.iter().enumerate().step_by(997).find(|(place, byte)| **byte != pattern(*place));
    assert_eq!(wrong, None);
}

/// The period of the pattern in bytes, a prime number.
const PERIOD: usize = 65_521;

/// The pattern begins anew in each buffer, so that each can be checked alone.
fn pattern(place: usize) -> u8 {
    let place = place % PERIOD;
    (place / 251) as u8 ^ place as u8
}

fn memory(lengths: &[usize]) -> Vec<Bytes> {
    let period: Vec<u8> = (0..PERIOD).map(pattern).collect();
    let buffer = |len: &usize| {
        let mut bytes = period.repeat(len.div_ceil(PERIOD));
        bytes.truncate(*len);
        bytes.into()
    };
    lengths.iter().map(buffer).collect()
}

fn room(lengths: &[usize]) -> Vec<Box<dyn WritableBuffer>> {
    lengths.iter().map(|len| Box::new(Buffer(vec![0; *len], check)) as _).collect()
}

fn transfers_of_many_shapes(ranks: &Ranks) {
    let mut network = ranks.network(LIMIT).unwrap();
    let shapes: [&[usize]; 6] =
        [&[], &[0], &[1], &[0, 5, 0, 100_000, 1], &[64 << 20], &[(16 << 20) + 1, 3, 32 << 20]];
    for (number, lengths) in (0..).zip(shapes) {
        match ranks.rank() {
            0 => network.send_memory(HostId::new(1), Transfer(number), memory(lengths)),
            1 => network.receive_memory(HostId::new(0), Transfer(number), room(lengths)),
            _ => continue,
        }
        match collect(&mut network, 1)[..] {
            [Arrival::Sent(Transfer(ended)) | Arrival::Received(Transfer(ended))] => {
                assert_eq!(ended, number)
            }
            ref other => panic!("{other:?}"),
        }
    }
    // The sender's memory may be divided differently.
    let whole = memory(&[40 << 20]).remove(0);
    let halves = vec![whole.slice(..(20 << 20) + 7), whole.slice((20 << 20) + 7..)];
    match ranks.rank() {
        0 => network.send_memory(HostId::new(1), Transfer(100), halves),
        1 => network.receive_memory(HostId::new(0), Transfer(100), room(&[40 << 20])),
        _ => return settle(&mut network, ranks),
    }
    collect(&mut network, 1);
    settle(&mut network, ranks);
}

fn transfers_overtake_each_other(ranks: &Ranks) {
    let mut network = ranks.network(LIMIT).unwrap();
    const COUNT: u64 = 200;
    for other in others(ranks) {
        for number in 0..COUNT {
            let name = |from: usize, number: u64| Transfer(from as u64 * 1000 + number);
            network.send_memory(other, name(ranks.rank(), number), memory(&[1000 * number as usize + 1]));
            let number = COUNT - 1 - number;
            network.receive_memory(other, name(other.place(), number), room(&[1000 * number as usize + 1]));
        }
    }
    let arrivals = collect(&mut network, 2 * COUNT as usize * (ranks.size() - 1));
    let received = arrivals.iter().filter(|arrival| matches!(arrival, Arrival::Received(_))).count();
    assert_eq!(received, COUNT as usize * (ranks.size() - 1));
    settle(&mut network, ranks);
}

fn more_than_2_gib(ranks: &Ranks) {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let free = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    let free: u64 = free.trim().trim_end_matches(" kB").parse().unwrap();
    if free < 8 << 20 || ranks.size() > 2 {
        return; // kibibytes
    }
    let mut network = ranks.network(LIMIT).unwrap();
    let len = (2_usize << 30) + 12_345;
    match ranks.rank() {
        0 => network.send_memory(HostId::new(1), Transfer(1), memory(&[len])),
        _ => network.receive_memory(HostId::new(0), Transfer(1), room(&[len])),
    }
    collect(&mut network, 1);
    settle(&mut network, ranks);
}

/// A host that sends only heartbeats is not lost; one that does not poll is.
fn silence_is_a_loss(ranks: &Ranks) {
    let timeout = Duration::from_millis(400);
    let mut network = ranks.network(timeout).unwrap();
    let mut arrivals = Vec::new();
    let poll_for = |network: &mut MpiNetwork, time: Duration, arrivals: &mut Vec<Arrival>| {
        let end = Instant::now() + time;
        while Instant::now() < end {
            network.poll(arrivals);
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    poll_for(&mut network, 3 * timeout, &mut arrivals);
    assert!(arrivals.is_empty(), "{arrivals:?}");
    ranks.barrier().unwrap();
    if ranks.rank() == 1 {
        std::thread::sleep(3 * timeout);
    } else {
        poll_for(&mut network, 2 * timeout, &mut arrivals);
        let [Arrival::Lost(host, why)] = &arrivals[..] else { panic!("{arrivals:?}") };
        assert_eq!((*host, why.as_str()), (HostId::new(1), "nothing was heard from it for 0.4 s"));
        network.send(HostId::new(1), vec![1]); // discarded
        // A heartbeat for another rank may be pending.
        let end = Instant::now() + LIMIT;
        while network.is_busy() {
            network.poll(&mut arrivals);
            assert!(Instant::now() < end);
        }
    }
}

fn measure(ranks: &Ranks) {
    for (bytes, rounds) in [(64, 2000), (64 << 20, 11)] {
        let raw = ranks.raw_round_trip(bytes, rounds).unwrap();
        let mut network = ranks.network(LIMIT).unwrap();
        let ours = match bytes {
            64 => ours_of_messages(&mut network, ranks, bytes, rounds),
            _ => ours_of_memory(&mut network, ranks, bytes, rounds),
        };
        settle(&mut network, ranks);
        if ranks.rank() == 0 {
            let (raw, ours) = (raw.as_secs_f64() * 1e6, ours.as_secs_f64() * 1e6);
            println!(
                "{bytes} bytes there and back: MPI {raw:.1} us, network {ours:.1} us, {:.2} times",
                ours / raw
            );
        }
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ours_of_messages(network: &mut MpiNetwork, ranks: &Ranks, bytes: usize, rounds: usize) -> Duration {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        match ranks.rank() {
            0 => {
                network.send(HostId::new(1), vec![1; bytes]);
                collect(network, 1);
            }
            1 => {
                collect(network, 1);
                network.send(HostId::new(0), vec![1; bytes]);
            }
            _ => {}
        }
        times.push(start.elapsed());
    }
    median(times)
}

thread_local! {
    /// Memory that is reused without checks.
    static KEPT: std::cell::RefCell<Vec<Vec<u8>>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn keep(memory: Vec<u8>) {
    KEPT.with_borrow_mut(|kept| kept.push(memory));
}

fn ours_of_memory(network: &mut MpiNetwork, ranks: &Ranks, bytes: usize, rounds: usize) -> Duration {
    let mut times = Vec::new();
    let sent = Bytes::from(vec![1; bytes]);
    keep(vec![1; bytes]);
    let receive = |network: &mut MpiNetwork, from, number| {
        let memory = KEPT.with_borrow_mut(|kept| kept.pop()).unwrap();
        network.receive_memory(HostId::new(from), Transfer(number), vec![Box::new(Buffer(memory, keep))]);
        collect(network, 1);
    };
    for number in 0..rounds as u64 {
        let start = Instant::now();
        match ranks.rank() {
            0 => {
                network.send_memory(HostId::new(1), Transfer(2 * number), vec![sent.clone()]);
                collect(network, 1);
                receive(network, 1, 2 * number + 1);
            }
            1 => {
                receive(network, 0, 2 * number);
                network.send_memory(HostId::new(0), Transfer(2 * number + 1), vec![sent.clone()]);
                collect(network, 1);
            }
            _ => {}
        }
        times.push(start.elapsed());
    }
    median(times)
}

//! Communicators.

use super::{Test, last, same_error};
use unidist_spmd::mpi::topology::{Color, Communicator as _, SimpleCommunicator};
use unidist_spmd::mpi::traits::CommunicatorCollectives;
use unidist_spmd::{Communicator, Lock, SharedArray};

pub(super) const TESTS: &[Test] = &[
    ("world has all ranks", world_has_all_ranks),
    ("all_gather returns the values of all ranks", all_gather_returns_all),
    ("split by color, key and host", split_by_color_and_key),
    ("different calls are an error", different_calls_are_an_error),
    ("communicator of the program", communicator_of_the_program),
    ("communicator for MPI calls of the program", mpi_calls_of_the_program),
    ("hosts given by the program", hosts_given_by_the_program),
    ("invalid host communicators are refused", invalid_hosts_are_refused),
];

fn world_has_all_ranks(world: &Communicator) {
    let ranks: usize =
        std::env::var("UNIDIST_TEST_RANKS").map_or(world.size(), |ranks| ranks.parse().unwrap());
    assert_eq!(world.size(), ranks);
    let hosts: usize =
        std::env::var("UNIDIST_TEST_HOSTS").map_or(world.hosts(), |hosts| hosts.parse().unwrap());
    assert_eq!(world.hosts(), hosts);
    assert!(world.host() < world.hosts() && world.host_rank() < world.host_size());
}

fn all_gather_returns_all(world: &Communicator) {
    for round in 0..300_u64 {
        let gathered = world.all_gather([world.rank() as u64, round]).unwrap();
        let expected: Vec<_> = (0..world.size() as u64).map(|rank| [rank, round]).collect();
        assert_eq!(gathered, expected);
    }
}

fn split_by_color_and_key(world: &Communicator) {
    let (rank, size) = (world.rank(), world.size());
    let part = world.split(Some(rank % 2), size - rank).unwrap().unwrap();
    // Ordered by the keys, which are in reverse order.
    let members: Vec<_> = (0..size).rev().filter(|other| other % 2 == rank % 2).collect();
    assert_eq!(part.all_gather(rank).unwrap(), members);
    let one = world.split((rank == last(world)).then_some(7), 0).unwrap();
    assert_eq!(one.map(|one| one.size()), (rank == last(world)).then_some(1));
    // Colors and keys may be any numbers.
    let part = world.split(Some(usize::MAX - rank % 2), usize::MAX - rank).unwrap().unwrap();
    assert_eq!(part.all_gather(rank).unwrap(), members);
    let host = world.split_by_host().unwrap();
    assert_eq!((host.size(), host.rank(), host.hosts()), (world.host_size(), world.host_rank(), 1));
}

fn different_calls_are_an_error(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let mut array = SharedArray::<u8, _>::new(1, world).unwrap();
    let outcome = match world.rank() {
        0 => world.barrier(),
        _ => array.assign(0, None),
    };
    same_error(world, outcome, "rank 0 calls Communicator::barrier, rank 1 calls SharedArray::assign");
}

fn communicator_of_the_program(world: &Communicator) {
    let all = SimpleCommunicator::world();
    let half = all.split_by_color(Color::with_value(all.rank() % 2)).unwrap();
    let own = Communicator::of(&half).unwrap();
    assert_eq!((own.rank(), own.size()), (half.rank() as usize, half.size() as usize));
    let mut array = SharedArray::<i32, _>::new(2, &own).unwrap();
    let data = ndarray::array![all.rank() % 2, 5];
    array.set(Some(data.view()), 0, own.size() - 1).unwrap();
    assert_eq!(array.view(), data);
    world.barrier().unwrap();
}

fn mpi_calls_of_the_program(world: &Communicator) {
    let mpi = world.to_mpi().unwrap().unwrap();
    let mut ranks = vec![0; world.size()];
    mpi.all_gather_into(&mpi.rank(), &mut ranks);
    assert!(ranks.into_iter().eq(0..world.size() as i32));
}

fn hosts_given_by_the_program(world: &Communicator) {
    let all = SimpleCommunicator::world();
    let host = all.split_shared(0);
    let own = Communicator::with_hosts(&all, &host).unwrap();
    assert_eq!((own.hosts(), own.host_size()), (world.hosts(), host.size() as usize));
    let mut array = SharedArray::<usize, _>::new((2, 2), &own).unwrap();
    array.assign((1, 0), (own.rank() == last(&own)).then_some(ndarray::array![[8, 9]].view())).unwrap();
    assert_eq!(array.view(), ndarray::array![[0, 0], [8, 9]]);
    // A host communicator may have one rank.
    let alone = all.split_by_color(Color::with_value(all.rank())).unwrap();
    let own = Communicator::with_hosts(&all, &alone).unwrap();
    assert_eq!((own.hosts(), own.host_size()), (world.size(), 1));
    let mut array = SharedArray::<usize, _>::new(2, &own).unwrap();
    array.set(Some(ndarray::array![3].view()), 1, 0).unwrap();
    assert_eq!(array.view(), ndarray::array![0, 3]);
    let mut lock = Lock::new(&own).unwrap();
    (0..10).for_each(|_| drop(lock.lock().unwrap()));
}

fn invalid_hosts_are_refused(world: &Communicator) {
    let all = SimpleCommunicator::world();
    if world.size() > 1 {
        let half = all.split_by_color(Color::with_value(all.rank() % 2)).unwrap();
        let error = Communicator::with_hosts(&half, &all).unwrap_err();
        assert!(error.to_string().contains("contains ranks outside the communicator"), "{error}");
        world.barrier().unwrap();
    }
}

//! Who is there.

use super::{Test, last, same_error};
use unidist_spmd::mpi::topology::{Color, Communicator as _, SimpleCommunicator};
use unidist_spmd::mpi::traits::CommunicatorCollectives;
use unidist_spmd::{Communicator, Lock, SharedArray};

pub(super) const TESTS: &[Test] = &[
    ("everybody is there", everybody_is_there),
    ("what each says", what_each_says),
    ("parts of the ranks", parts_of_the_ranks),
    ("different things at once", different_things_at_once),
    ("a communicator of the program's own", of_the_programs_own),
    ("MPI for what the program does itself", for_the_program_itself),
    ("hosts that the program has split", hosts_of_the_programs_own),
    ("hosts that are none", hosts_that_are_none),
];

fn everybody_is_there(world: &Communicator) {
    let ranks: usize =
        std::env::var("UNIDIST_TEST_RANKS").map_or(world.size(), |ranks| ranks.parse().unwrap());
    assert_eq!(world.size(), ranks);
    let hosts: usize =
        std::env::var("UNIDIST_TEST_HOSTS").map_or(world.hosts(), |hosts| hosts.parse().unwrap());
    assert_eq!(world.hosts(), hosts);
    assert!(world.host() < world.hosts() && world.host_rank() < world.host_size());
}

fn what_each_says(world: &Communicator) {
    for round in 0..300_u64 {
        let said = world.all_gather([world.rank() as u64, round]).unwrap();
        let wanted: Vec<_> = (0..world.size() as u64).map(|rank| [rank, round]).collect();
        assert_eq!(said, wanted);
    }
}

fn parts_of_the_ranks(world: &Communicator) {
    let (rank, size) = (world.rank(), world.size());
    let part = world.split(Some(rank % 2), size - rank).unwrap().unwrap();
    // In the order of the keys, which is the other way round.
    let members: Vec<_> = (0..size).rev().filter(|other| other % 2 == rank % 2).collect();
    assert_eq!(part.all_gather(rank).unwrap(), members);
    let one = world.split((rank == last(world)).then_some(7), 0).unwrap();
    assert_eq!(one.map(|one| one.size()), (rank == last(world)).then_some(1));
    // Any numbers will do.
    let part = world.split(Some(usize::MAX - rank % 2), usize::MAX - rank).unwrap().unwrap();
    assert_eq!(part.all_gather(rank).unwrap(), members);
    let host = world.split_by_host().unwrap();
    assert_eq!((host.size(), host.rank(), host.hosts()), (world.host_size(), world.host_rank(), 1));
}

fn different_things_at_once(world: &Communicator) {
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

fn of_the_programs_own(world: &Communicator) {
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

fn for_the_program_itself(world: &Communicator) {
    let mpi = world.to_mpi().unwrap().unwrap();
    let mut ranks = vec![0; world.size()];
    mpi.all_gather_into(&mpi.rank(), &mut ranks);
    assert!(ranks.into_iter().eq(0..world.size() as i32));
}

fn hosts_of_the_programs_own(world: &Communicator) {
    let all = SimpleCommunicator::world();
    let host = all.split_shared(0);
    let own = Communicator::with_hosts(&all, &host).unwrap();
    assert_eq!((own.hosts(), own.host_size()), (world.hosts(), host.size() as usize));
    let mut array = SharedArray::<usize, _>::new((2, 2), &own).unwrap();
    array.assign((1, 0), (own.rank() == last(&own)).then_some(ndarray::array![[8, 9]].view())).unwrap();
    assert_eq!(array.view(), ndarray::array![[0, 0], [8, 9]]);
    // A rank may say that it shares memory with none.
    let alone = all.split_by_color(Color::with_value(all.rank())).unwrap();
    let own = Communicator::with_hosts(&all, &alone).unwrap();
    assert_eq!((own.hosts(), own.host_size()), (world.size(), 1));
    let mut array = SharedArray::<usize, _>::new(2, &own).unwrap();
    array.set(Some(ndarray::array![3].view()), 1, 0).unwrap();
    assert_eq!(array.view(), ndarray::array![0, 3]);
    let mut lock = Lock::new(&own).unwrap();
    (0..10).for_each(|_| drop(lock.lock().unwrap()));
}

fn hosts_that_are_none(world: &Communicator) {
    let all = SimpleCommunicator::world();
    if world.size() > 1 {
        let half = all.split_by_color(Color::with_value(all.rank() % 2)).unwrap();
        let error = Communicator::with_hosts(&half, &all).unwrap_err();
        assert!(error.to_string().contains("contains ranks outside the communicator"), "{error}");
        world.barrier().unwrap();
    }
}

//! Shared arrays.

use super::{Test, last, same_error};
use ndarray::{Array2, Array3, ArrayView2, Axis, IxDyn, array, s};
use unidist_spmd::{Communicator, Error, SharedArray};

pub(super) const TESTS: &[Test] = &[
    ("array is zeroed", array_is_zeroed),
    ("each rank sets", each_rank_sets),
    ("assign takes the data of one rank", assign_takes_data_of_one_rank),
    ("assign without data or with two sources", assign_needs_one_source),
    ("parts outside the array are refused", impossible_parts),
    ("ranks name different sources", different_sources),
    ("ranks create different arrays", different_arrays),
    ("ranks set different arrays", different_arrays_set),
    ("one rank creates no array", one_creates_none),
    ("no elements", no_elements),
    ("large parts", large_parts),
    ("large parts that are not contiguous", large_scattered_parts),
    ("each sets a part", each_sets_a_part),
    ("overlapping parts are refused", overlapping_parts),
    ("more elements than 2^31", more_elements_than_2_31),
    ("arrays on a part of the ranks", array_of_a_part_of_the_ranks),
    ("array prints its shape and values", array_prints_shape_and_values),
];

fn array_is_zeroed(world: &Communicator) {
    let array = SharedArray::<f64, _>::new((3, 5), world).unwrap();
    assert_eq!(array.view(), Array2::zeros((3, 5)));
}

fn each_rank_sets(world: &Communicator) {
    let mut array = SharedArray::<f64, _>::new((3, 5), world).unwrap();
    let mut wanted = Array2::zeros((3, 5));
    for round in 0..50 {
        let source = round % world.size();
        let part = Array2::from_shape_fn((2, 3), |(row, column)| (round * 6 + 3 * row + column) as f64);
        let offset = (round % 2, round % 3);
        let data = (world.rank() == source).then(|| part.view());
        // Offsets of other ranks do not matter.
        array.set(data, if world.rank() == source { offset } else { (99, 99) }, source).unwrap();
        wanted.slice_mut(s![offset.0..offset.0 + 2, offset.1..offset.1 + 3]).assign(&part);
        assert_eq!(array.view(), wanted);
    }
    // Data that is not in row-major order is reordered.
    let part = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    array.set(Some(part.t()), (0, 0), last(world)).unwrap();
    wanted.slice_mut(s![.., ..2]).assign(&part.t());
    assert_eq!(array.view(), wanted);
}

fn assign_takes_data_of_one_rank(world: &Communicator) {
    let mut array = SharedArray::<u32, _>::new(10, world).unwrap();
    for source in 0..world.size() {
        let data = array![source as u32, 7];
        array.assign(3, (world.rank() == source).then(|| data.view())).unwrap();
        assert_eq!((array[3], array[4]), (source as u32, 7));
    }
}

fn assign_needs_one_source(world: &Communicator) {
    let mut array = SharedArray::<u32, _>::new(4, world).unwrap();
    let nobody = array.assign(0, None);
    same_error(world, nobody, "SharedArray::assign: no rank passes data");
    if world.size() > 1 {
        let data = array![1];
        let gives = world.rank() == 0 || world.rank() == last(world);
        let both = array.assign(0, gives.then(|| data.view()));
        same_error(world, both, &format!("ranks 0 and {} both pass data", last(world)));
    }
    assert_eq!(array.view(), array![0, 0, 0, 0]);
}

fn impossible_parts(world: &Communicator) {
    let source = last(world);
    let mut array = SharedArray::<u32, _>::new((2, 2), world).unwrap();
    let set = |array: &mut SharedArray<u32, _>, data: ArrayView2<'_, u32>, offset: (usize, usize)| {
        array.set((world.rank() == source).then_some(data), offset, source)
    };
    let wide = array![[1, 2, 3]];
    let outcome = set(&mut array, wide.view(), (0, 0));
    same_error(world, outcome, &format!("rank {source} passes 3 elements from 0 on along axis 1"));
    let outcome = set(&mut array, wide.slice(s![.., ..2]), (2, 0));
    same_error(world, outcome, "1 elements from 2 on along axis 0, where the array has 2");
    let outcome = set(&mut array, wide.slice(s![.., ..1]), (usize::MAX, 0));
    same_error(world, outcome, "along axis 0");
    let outcome = array.set(None, (0, 0), source);
    same_error(world, outcome, "passes None");
    let outcome = array.set(None, (0, 0), world.size());
    same_error(world, outcome, &format!("there is no rank {}", world.size()));
    assert!(array.view().iter().all(|element| *element == 0));
    // Dynamic shapes.
    let mut array = SharedArray::<u32, _>::new(IxDyn(&[2, 2]), world).unwrap();
    let row = array![1, 2].into_dyn();
    let outcome = array.set((world.rank() == source).then(|| row.view()), IxDyn(&[0, 0]), source);
    same_error(world, outcome, "data of 1 axes at an offset of 2, for an array of 2");
}

fn different_sources(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let mut array = SharedArray::<u32, _>::new(2, world).unwrap();
    let data = array![1];
    let named = usize::from(world.rank() == last(world));
    let outcome = array.set(Some(data.view()), 0, named);
    same_error(
        world,
        outcome,
        &format!("rank 0 takes the data of rank 0, rank {} that of rank 1", last(world)),
    );
}

fn different_arrays(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let is_other = world.rank() == last(world);
    let outcome = SharedArray::<u32, _>::new((2, 2 + usize::from(is_other)), world);
    same_error(world, outcome, &format!("of shape [2, 2], rank {} of shape [2, 3]", last(world)));
    let outcome = match is_other {
        false => SharedArray::<u32, _>::new(2, world).map(drop),
        true => SharedArray::<f32, _>::new(2, world).map(drop),
    };
    same_error(world, outcome, "another element type");
    let outcome = SharedArray::<u64, _>::new((usize::MAX, 2), world);
    same_error(world, outcome, "larger than memory can be");
}

fn different_arrays_set(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let mut one = SharedArray::<u32, _>::new(1, world).unwrap();
    let mut other = SharedArray::<u32, _>::new(1, world).unwrap();
    let data = array![1];
    let array = if world.rank() == 0 { &mut one } else { &mut other };
    let outcome = array.set(Some(data.view()), 0, 0);
    assert!(matches!(same_error(world, outcome, "of this communicator"), Error::Mismatch { .. }));
    // Both arrays remain usable.
    one.set(Some(data.view()), 0, 0).unwrap();
    other.set(Some(data.view()), 0, last(world)).unwrap();
    assert_eq!((one[0], other[0]), (1, 1));
}

/// Objects that are created afterwards have the same number on all ranks.
fn one_creates_none(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let outcome = match world.rank() {
        0 => world.barrier(),
        _ => SharedArray::<u32, _>::new(1, world).map(drop),
    };
    same_error(world, outcome, "rank 0 calls Communicator::barrier, rank 1 calls SharedArray::new");
    let mut array = SharedArray::<u32, _>::new(1, world).unwrap();
    array.set(Some(array![1].view()), 0, 0).unwrap();
    assert_eq!(array[0], 1);
}

fn no_elements(world: &Communicator) {
    let mut array = SharedArray::<f64, _>::new((4, 0), world).unwrap();
    assert!(array.is_empty());
    array.set(Some(Array2::zeros((2, 0)).view()), (1, 0), last(world)).unwrap();
    array.assign((0, 0), (world.rank() == 0).then_some(Array2::zeros((0, 0)).view())).unwrap();
    let outcome = array.set(Some(Array2::zeros((2, 1)).view()), (1, 0), 0);
    same_error(world, outcome, "along axis 1, where the array has 0");
    let mut full = SharedArray::<f64, _>::new((4, 3), world).unwrap();
    full.set(Some(Array2::zeros((0, 3)).view()), (4, 0), 0).unwrap();
    let scalar = SharedArray::<f64, _>::new((), world).unwrap();
    assert_eq!(scalar[()], 0.0);
    same_error(world, SharedArray::<u64, _>::new((0, usize::MAX), world), "larger than memory can be");
}

/// A number for each place that differs from those of nearby places.
fn number(place: usize, round: usize) -> u64 {
    (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round as u64
}

fn large_parts(world: &Communicator) {
    const LEN: usize = 3_000_001; // 23 MB: not a multiple of a chunk
    let mut array = SharedArray::<u64, _>::new(LEN + 2, world).unwrap();
    for (round, source) in [0, last(world)].into_iter().enumerate() {
        let data = (world.rank() == source)
            .then(|| ndarray::Array1::from_shape_fn(LEN, |place| number(place, round)));
        array.set(data.as_ref().map(|data| data.view()), 1, source).unwrap();
        let wrong = array
            .view()
            .slice(s![1..=LEN])
            .iter()
            .enumerate()
            .find(|(place, value)| **value != number(*place, round))
            .map(|(place, _)| place);
        assert_eq!((wrong, array[0], array[LEN + 1]), (None, 0, 0));
    }
}

fn large_scattered_parts(world: &Communicator) {
    let shape = (30, 310, 200);
    let mut array = SharedArray::<u64, _>::new(shape, world).unwrap();
    let part = Array3::from_shape_fn((28, 300, 190), |(a, b, c)| number((a * 300 + b) * 190 + c, 0));
    let mut wanted = Array3::zeros(shape);
    wanted.slice_mut(s![2.., 5..305, 10..]).assign(&part);
    let data = (world.rank() == last(world)).then(|| part.view());
    array.set(data, (2, 5, 10), last(world)).unwrap();
    assert!(array.view() == wanted);
}

fn each_sets_a_part(world: &Communicator) {
    let ranks = world.size();
    let mut array = SharedArray::<u64, _>::new((ranks, 100_000), world).unwrap();
    for round in 0..10 {
        let own =
            Array2::from_shape_fn((1, 100_000), |(_, place)| number(place, round * ranks + world.rank()));
        array.set_each(Some(own.view()), (world.rank(), 0)).unwrap();
        for (rank, row) in array.view().axis_iter(Axis(0)).enumerate() {
            let wrong =
                row.iter().enumerate().find(|(place, value)| **value != number(*place, round * ranks + rank));
            assert_eq!(wrong, None);
        }
    }
    // Some ranks pass no data.
    let data = array![[7, 8]];
    array.set_each((world.rank() == last(world)).then(|| data.view()), (0, 0)).unwrap();
    assert_eq!((array[(0, 0)], array[(0, 1)], array[(0, 2)]), (7, 8, number(2, 9 * ranks)));
    array.set_each(None, (0, 0)).unwrap();
}

fn overlapping_parts(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let mut array = SharedArray::<u64, _>::new((2 * world.size(), 2), world).unwrap();
    let own = array![[1, 1], [1, 1]];
    let row = if world.rank() == last(world) { 1 } else { 2 * world.rank() };
    let outcome = array.set_each(Some(own.view()), (row, 0));
    same_error(world, outcome, &format!("ranks 0 and {} pass data for the same elements", last(world)));
    assert!(array.view().iter().all(|element| *element == 0));
}

fn more_elements_than_2_31(world: &Communicator) {
    const LEN: usize = (1 << 31) + 1_000;
    let mut array = SharedArray::<u8, _>::new(LEN, world).unwrap();
    let data = array![1, 2, 3];
    array.set((world.rank() == 0).then(|| data.view()), LEN - 3, 0).unwrap();
    assert_eq!((array[LEN - 4], array[LEN - 3], array[LEN - 1], array.len()), (0, 1, 3, LEN));
    // Only touched pages take memory.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 1 << 20, "{kibibytes} KiB");
}

fn array_of_a_part_of_the_ranks(world: &Communicator) {
    let part = world.split(Some(world.rank() % 2), 0).unwrap().unwrap();
    let mut array = SharedArray::<usize, _>::new(part.size(), &part).unwrap();
    array.set_each(Some(array![world.rank()].view()), part.rank()).unwrap();
    let members: Vec<_> = (0..world.size()).filter(|rank| rank % 2 == world.rank() % 2).collect();
    assert_eq!(array.view().to_vec(), members);
}

fn array_prints_shape_and_values(world: &Communicator) {
    let array = SharedArray::<f32, _>::new((2, 2), world).unwrap();
    let text = array.to_string();
    let hosts = format!("{} host", world.hosts());
    assert!(
        text.starts_with("SharedArray: [2, 2] of f32")
            && text.contains(&hosts)
            && text.ends_with("[[0, 0],\n [0, 0]]"),
        "{text}"
    );
}

#![allow(unsafe_code)] // writes where safe code cannot
//! Writes to the store that no safe code makes, as faulty C code in a task does.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{failure, square};
use unidist::prelude::*;
use unidist::{ErrorKind, SharedSlice, put_slice};

pub(super) const CASES: &[Case] = cases!["wild_writes":
    write_into_an_object.only(PYMP),
    write_into_a_result.only(PYMP),
    only_new_blocks_are_writable.only(PYMP),
];

const LEN: usize = 1 << 20;

fn write_to(byte: &u8) {
    // SAFETY: none: this is the fault that the cases are about.
    unsafe { std::ptr::from_ref(byte).cast_mut().write_volatile(99) };
}

/// A task that writes to its argument ends its process and changes nothing.
fn write_into_an_object() -> Result {
    let object = put_slice(&vec![1_u8; LEN])?;
    let writes = |data: SharedSlice<u8>| -> i64 {
        write_to(&data[LEN / 2]);
        0
    };
    assert_eq!(failure(writes.remote(&object)), ErrorKind::WorkerDied);
    assert!(get(&object)?.iter().all(|byte| *byte == 1));
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// The same for an object that the process itself has made.
fn write_into_a_result() -> Result {
    let writes = || -> i64 {
        let slice = SharedSlice::build(LEN, |out: &mut [u8]| out.fill(1)).unwrap();
        let object = put(slice.clone()).unwrap();
        write_to(&get(&object).unwrap()[0]);
        0
    };
    assert_eq!(failure(writes.remote()), ErrorKind::WorkerDied);
    Ok(())
}

/// The bytes of the store that this process has mapped writable.
fn writable_bytes() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let sizes = maps.lines().filter(|line| line.contains("unidist-store")).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).unwrap());
        words.next()?.contains('w').then_some(end - start)
    });
    sizes.sum()
}

/// In a worker, nothing of the store is writable but what is being written, and a page for waking the engine.
fn only_new_blocks_are_writable() -> Result {
    let writable = |_argument: SharedSlice<u8>| {
        let before = writable_bytes();
        let mut during = 0;
        let slice = SharedSlice::build(LEN + 1, |out: &mut [u8]| {
            out.fill(1);
            during = writable_bytes();
        });
        drop(put(slice.unwrap()).unwrap());
        drop(put(vec![1_u8; LEN]).unwrap());
        (before, during, writable_bytes())
    };
    let page = rustix::param::page_size();
    let (before, during, after) = get(writable.remote(put_slice(&vec![1_u8; LEN])?))?;
    assert!(before <= page, "{before}");
    assert!(during <= before + LEN + page, "{during}");
    assert_eq!(after, before);
    Ok(())
}

//! A map from ids, which processes assign in sequence.
//!
//! Consecutive ids are neighbours in memory. Entries used together were made together, so a session with a million
//! pending calls finds the next one in its cache, where a hash map would access main memory for each.

use rustc_hash::FxHashMap;
use std::marker::PhantomData;
use unidist_common::{DataId, TaskId};

/// How many neighbours share a chunk. A chunk lives while one of its entries does, so this bounds the memory that a
/// single survivor can hold.
const CHUNK: u64 = 16;

/// An id that is a number: consecutive ids have consecutive numbers.
pub(crate) trait Key: Copy {
    fn to_bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Key for DataId {
    fn to_bits(self) -> u64 {
        DataId::to_bits(self)
    }

    fn from_bits(bits: u64) -> Self {
        DataId::from_bits(bits)
    }
}

impl Key for TaskId {
    fn to_bits(self) -> u64 {
        self.first_return().to_bits()
    }

    fn from_bits(bits: u64) -> Self {
        TaskId::of_first_return(DataId::from_bits(bits))
    }
}

#[derive(Debug)]
pub(crate) struct IdMap<K, T> {
    chunks: FxHashMap<u64, Box<Chunk<T>>>,
    len: usize,
    keys: PhantomData<K>,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: [Option<T>; CHUNK as usize],
    used: usize,
}

impl<K, T> Default for IdMap<K, T> {
    fn default() -> Self {
        IdMap { chunks: FxHashMap::default(), len: 0, keys: PhantomData }
    }
}

/// The chunk of an id, and its place in the chunk.
fn place(id: impl Key) -> (u64, usize) {
    let number = id.to_bits();
    (number / CHUNK, (number % CHUNK) as usize)
}

impl<K: Key, T> IdMap<K, T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains_key(&self, id: &K) -> bool {
        self.get(id).is_some()
    }

    pub(crate) fn get(&self, id: &K) -> Option<&T> {
        let (chunk, at) = place(*id);
        self.chunks.get(&chunk)?.slots[at].as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: &K) -> Option<&mut T> {
        let (chunk, at) = place(*id);
        self.chunks.get_mut(&chunk)?.slots[at].as_mut()
    }

    /// Adds a value; returns it if the id has one already.
    pub(crate) fn insert(&mut self, id: K, value: T) -> Result<(), T> {
        let (chunk, at) = place(id);
        let chunk = self
            .chunks
            .entry(chunk)
            .or_insert_with(|| Box::new(Chunk { slots: [const { None }; CHUNK as usize], used: 0 }));
        if chunk.slots[at].is_some() {
            return Err(value);
        }
        chunk.slots[at] = Some(value);
        chunk.used += 1;
        self.len += 1;
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &K) -> Option<T> {
        let (number, at) = place(*id);
        let chunk = self.chunks.get_mut(&number)?;
        let value = chunk.slots[at].take()?;
        chunk.used -= 1;
        self.len -= 1;
        if chunk.used == 0 {
            self.chunks.remove(&number);
        }
        Some(value)
    }

    /// All entries, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.chunks.iter().flat_map(|(chunk, content)| {
            let slots = content.slots.iter().zip(0..);
            slots.filter_map(move |(slot, at)| Some((K::from_bits(chunk * CHUNK + at), slot.as_ref()?)))
        })
    }

    /// All ids, in no particular order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = K> {
        self.iter().map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use unidist_common::ProcessId;

    #[test]
    fn id_map_equals_a_tree_map() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
        for step in 0..20_000 {
            let process = ProcessId::new(rng.u32(0..3)).unwrap();
            let id = DataId::new(process, rng.u64(0..200));
            match rng.u8(0..4) {
                0 => assert_eq!(map.remove(&id), model.remove(&id)),
                1 => assert_eq!(map.get(&id), model.get(&id)),
                2 => assert_eq!(map.get_mut(&id), model.get_mut(&id)),
                _ if model.contains_key(&id) => assert_eq!(map.insert(id, step), Err(step)),
                _ => {
                    assert_eq!(map.insert(id, step), Ok(()));
                    model.insert(id, step);
                }
            }
            assert_eq!(map.len(), model.len());
        }
        let all: BTreeMap<_, _> = map.iter().map(|(id, value)| (id, *value)).collect();
        assert_eq!(all, model);
        model.keys().for_each(|id| assert!(map.remove(id).is_some()));
        assert!(map.is_empty() && map.chunks.is_empty());
    }
}

//! The allocator of the object store: allocates ranges of one bounded segment.
//!
//! It works on offsets only, so it can be tested against a model. It prefers ranges that were used before, since touched
//! pages cost no page fault, and merges adjacent free ranges at once. The smallest sufficient range is taken (best fit).
//! Large blocks have pages of their own, so that a worker can make them writable and nothing else ([`has_own_pages`]).

use super::Block;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks start and end on multiples of this, so that slices of any plain-old-data type are aligned.
pub(crate) const ALIGNMENT: u64 = 64;
/// A multiple of the size of a page of the system: elsewhere pages may have 64 KiB.
pub(crate) const PAGE: u64 = if cfg!(target_arch = "x86_64") { 4096 } else { 65536 };
/// Blocks of the segment from this length on have pages of their own. Changing what a process may do with pages takes about
/// as long as copying that length, and the rest of the last page is lost.
const OWN_PAGES_FROM: u64 = 32 * PAGE;

/// Whether a block of the segment begins and ends with a page.
pub(crate) fn has_own_pages(block: Block) -> bool {
    block.len >= OWN_PAGES_FROM
}

/// The bytes that a block of this length occupies in the segment, rounding included.
pub(crate) fn size_in_segment(len: u64) -> u64 {
    let alignment = if len >= OWN_PAGES_FROM { PAGE } else { ALIGNMENT };
    len.max(1).next_multiple_of(alignment)
}

/// The allocator's state.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Free ranges below `frontier`, by offset.
    free: BTreeMap<u64, u64>,
    /// The same, by length and offset.
    by_length: BTreeSet<(u64, u64)>,
    /// Those with whole pages for a block that has its own, by the length of these pages and the offset of the range.
    by_pages: BTreeSet<(u64, u64)>,
    /// Blocks in use, with their rounded lengths.
    used: BTreeMap<u64, u64>,
    /// The start of the part that was never allocated.
    frontier: u64,
    start: u64,
    end: u64,
    alignment: u64,
    /// The alignment of blocks from `OWN_PAGES_FROM` bytes on.
    large_alignment: u64,
    used_bytes: u64,
}

impl Arena {
    /// An arena over the offsets `start..end`.
    pub(crate) fn new(start: u64, end: u64) -> Self {
        Arena::with_alignments(start, end, ALIGNMENT, PAGE)
    }

    /// The same with another alignment of all blocks.
    pub(crate) fn aligned(start: u64, end: u64, alignment: u64) -> Self {
        Arena::with_alignments(start, end, alignment, alignment)
    }

    fn with_alignments(start: u64, end: u64, alignment: u64, large_alignment: u64) -> Self {
        let start = start.next_multiple_of(alignment);
        Arena {
            free: BTreeMap::new(),
            by_length: BTreeSet::new(),
            by_pages: BTreeSet::new(),
            used: BTreeMap::new(),
            frontier: start,
            start,
            end: (end - end % alignment).max(start),
            alignment,
            large_alignment,
            used_bytes: 0,
        }
    }

    /// Allocates a block. Its `len` is the requested one; the range behind it is rounded up to the alignment. `None` if no
    /// free range is long enough.
    pub(crate) fn allocate(&mut self, len: u64) -> Option<Block> {
        let rounded = self.rounded(len)?;
        let alignment = self.alignment_of(len);
        let ranges = if alignment == self.alignment { &self.by_length } else { &self.by_pages };
        let found = ranges.range((rounded, 0)..).next().map(|(_, offset)| *offset);
        let offset = match found.and_then(|found| self.free.get_key_value(&found)) {
            Some((&found, &found_len)) => {
                self.remove_free(found, found_len);
                let offset = found.next_multiple_of(alignment);
                self.insert_free(found, offset - found);
                self.insert_free(offset + rounded, found + found_len - offset - rounded);
                offset
            }
            None => self.extend(rounded, alignment)?,
        };
        self.used.insert(offset, rounded);
        self.used_bytes += rounded;
        Some(Block { offset, len })
    }

    /// Frees a block. Returns false, without effect, if it is not in use with this length.
    #[must_use]
    pub(crate) fn free(&mut self, block: Block) -> bool {
        if !self.owns(block) {
            return false;
        }
        let Some(mut len) = self.used.remove(&block.offset) else {
            return false;
        };
        self.used_bytes -= len;
        let mut offset = block.offset;
        if let Some((&before, &before_len)) = self.free.range(..offset).next_back()
            && before + before_len == offset
        {
            self.remove_free(before, before_len);
            offset = before;
            len += before_len;
        }
        if let Some(&after_len) = self.free.get(&(offset + len)) {
            self.remove_free(offset + len, after_len);
            len += after_len;
        }
        self.insert_free(offset, len);
        true
    }

    /// Whether this block is in use with this length.
    pub(crate) fn owns(&self, block: Block) -> bool {
        self.used.get(&block.offset).is_some_and(|&rounded| self.rounded(block.len) == Some(rounded))
    }

    /// The length of the range for a block of this length.
    fn rounded(&self, len: u64) -> Option<u64> {
        len.max(1).checked_next_multiple_of(self.alignment_of(len))
    }

    fn alignment_of(&self, len: u64) -> u64 {
        if len >= OWN_PAGES_FROM { self.large_alignment } else { self.alignment }
    }

    /// Bytes in use, rounding included.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The total number of bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.end - self.start
    }

    /// Allocates `rounded` bytes at the end of the touched part: from its last free range, then from the untouched part.
    fn extend(&mut self, rounded: u64, alignment: u64) -> Option<u64> {
        let last = self.free.last_key_value().map(|(&offset, &len)| (offset, len));
        let (from, reused) = match last {
            Some((offset, len)) if offset + len == self.frontier => (offset, len),
            _ => (self.frontier, 0),
        };
        let offset = from.checked_next_multiple_of(alignment)?;
        let new_frontier = offset.checked_add(rounded)?;
        if new_frontier > self.end {
            return None;
        }
        if reused > 0 {
            self.remove_free(from, reused);
        }
        self.insert_free(from, offset - from);
        self.frontier = new_frontier;
        Some(offset)
    }

    /// Adds a free range, unless it is empty.
    fn insert_free(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        self.free.insert(offset, len);
        self.by_length.insert((len, offset));
        if let Some(pages) = self.whole_pages(offset, len) {
            self.by_pages.insert((pages, offset));
        }
    }

    fn remove_free(&mut self, offset: u64, len: u64) {
        self.free.remove(&offset);
        self.by_length.remove(&(len, offset));
        if let Some(pages) = self.whole_pages(offset, len) {
            self.by_pages.remove(&(pages, offset));
        }
    }

    /// The length of the whole pages in a range, if a block that has its own pages fits; `None` if such blocks are like
    /// others.
    fn whole_pages(&self, offset: u64, len: u64) -> Option<u64> {
        if len < OWN_PAGES_FROM || self.large_alignment == self.alignment {
            return None;
        }
        let start = offset.checked_next_multiple_of(self.large_alignment)?;
        let pages = (offset + len).checked_sub(start)? / self.large_alignment * self.large_alignment;
        (pages >= OWN_PAGES_FROM).then_some(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn adjacent_free_ranges_are_merged() {
        let mut arena = Arena::new(0, 64 * 10);
        let blocks: Vec<_> = (0..10).map(|_| arena.allocate(64).unwrap()).collect();
        assert_eq!(arena.allocate(1), None);
        for i in [3, 5, 4, 0, 9, 1, 2, 8, 6, 7] {
            assert!(arena.free(blocks[i]));
        }
        assert_eq!(arena.free.iter().collect::<Vec<_>>(), [(&0, &640)]);
        assert_eq!((arena.used_bytes(), arena.allocate(640).unwrap().offset), (0, 0));
    }

    #[test]
    fn touched_ranges_are_reused_before_new_ones() {
        let mut arena = Arena::new(100, 1 << 20);
        let first = arena.allocate(1000).unwrap();
        let _second = arena.allocate(1000).unwrap();
        assert!(arena.free(first));
        assert_eq!(arena.allocate(500).unwrap().offset, first.offset);
        assert_eq!(first.offset % ALIGNMENT, 0);
    }

    #[test]
    fn last_free_range_grows_into_the_untouched_part() {
        let mut arena = Arena::new(0, 1024);
        let block = arena.allocate(512).unwrap();
        assert!(arena.free(block));
        assert_eq!(arena.allocate(1024).map(|b| b.offset), Some(0));
        assert_eq!(arena.allocate(1), None);
    }

    #[test]
    fn free_refuses_a_block_that_is_not_in_use() {
        let mut arena = Arena::new(0, 1024);
        let block = arena.allocate(100).unwrap();
        assert!(!arena.free(Block { offset: 64, len: 10 }));
        assert!(!arena.free(Block { len: 1000, ..block }));
        assert!(arena.free(block));
        assert!(!arena.free(block));
        assert_eq!(arena.allocate(u64::MAX), None);
    }

    /// The blocks in use by offset, with their requested lengths.
    #[derive(Debug, Default)]
    struct Model(BTreeMap<u64, u64>);

    impl Model {
        fn rounded(len: u64) -> u64 {
            size_in_segment(len)
        }

        fn alignment(len: u64) -> u64 {
            if len >= OWN_PAGES_FROM { PAGE } else { ALIGNMENT }
        }

        /// The longest free range of `start..end` that begins with this alignment.
        fn longest_gap(&self, start: u64, end: u64, alignment: u64) -> u64 {
            let mut longest = 0;
            let mut from = start;
            let gap = |from: u64, to: u64| to.saturating_sub(from.next_multiple_of(alignment));
            for (&offset, &len) in &self.0 {
                longest = longest.max(gap(from, offset));
                from = offset + Self::rounded(len);
            }
            longest.max(gap(from, end))
        }

        fn used(&self) -> u64 {
            self.0.values().map(|len| Self::rounded(*len)).sum()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate(u64),
        /// The block at this index among those in use.
        Free(prop::sample::Index),
        /// A block that was not allocated in this form.
        FreeForeign(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => prop_oneof![0..200u64, 0..5000u64, OWN_PAGES_FROM - 9..OWN_PAGES_FROM * 2, Just(u64::MAX), Just(u64::MAX - 63)]
                .prop_map(Step::Allocate),
            4 => any::<prop::sample::Index>().prop_map(Step::Free),
            1 => prop_oneof![(0..5000u64, 0..200u64), any::<(u64, u64)>()].prop_map(|(at, len)| Step::FreeForeign(at, len)),
        ]
    }

    proptest! {
        #[test]
        fn arena_behaves_like_the_model(
            bounds in (0..300u64, prop_oneof![0..20_000u64, 0..20 * OWN_PAGES_FROM]),
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let (start, end) = (bounds.0, bounds.0 + bounds.1);
            let mut arena = Arena::new(start, end);
            let (first, last) = (start.next_multiple_of(ALIGNMENT), end / ALIGNMENT * ALIGNMENT);
            let last = last.max(first);
            prop_assert_eq!(arena.capacity(), last - first);
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Allocate(len) => match arena.allocate(len) {
                        Some(block) => {
                            prop_assert_eq!((block.len, block.offset % Model::alignment(len)), (len, 0));
                            let after = block.offset + Model::rounded(len);
                            prop_assert!(block.offset >= first && after <= last);
                            let before = model.0.range(..after).next_back();
                            prop_assert!(before.is_none_or(|(at, len)| at + Model::rounded(*len) <= block.offset));
                            model.0.insert(block.offset, len);
                        }
                        None => {
                            let alignment = Model::alignment(len);
                            let gap = model.longest_gap(first, last, alignment);
                            let rounded = len.max(1).checked_next_multiple_of(alignment);
                            prop_assert!(rounded.is_none_or(|rounded| rounded > gap), "{len} of {gap} refused");
                        }
                    },
                    Step::Free(index) if !model.0.is_empty() => {
                        let (&offset, &len) = model.0.iter().nth(index.index(model.0.len())).unwrap();
                        let other_length = Block { offset, len: Model::rounded(len) + 1 };
                        prop_assert!(!arena.free(other_length) && !arena.owns(other_length));
                        let block = Block { offset, len };
                        prop_assert!(arena.owns(block) && arena.free(block));
                        prop_assert!(!arena.free(block), "freed twice");
                        model.0.remove(&offset);
                    }
                    Step::Free(_) => {}
                    Step::FreeForeign(offset, len) => {
                        let rounded = |len: u64| len.max(1).checked_next_multiple_of(Model::alignment(len));
                        let ours = model.0.get(&offset).is_some_and(|used| rounded(*used) == rounded(len));
                        if !ours {
                            let block = Block { offset, len };
                            prop_assert!(!arena.free(block));
                        }
                    }
                }
                prop_assert_eq!(arena.used_bytes(), model.used());
            }
            for (offset, len) in model.0 {
                let block = Block { offset, len };
                prop_assert!(arena.free(block));
            }
            prop_assert_eq!(arena.used_bytes(), 0);
            let free: Vec<_> = arena.free.iter().map(|(offset, len)| (*offset, *len)).collect();
            let touched = (arena.frontier > first).then_some((first, arena.frontier - first));
            prop_assert_eq!(free, touched.into_iter().collect::<Vec<_>>(), "one range");
            let by_length: Vec<_> = touched.iter().map(|(offset, len)| (*len, *offset)).collect();
            let by_pages: Vec<_> =
                touched.iter().filter_map(|(offset, len)| Some((arena.whole_pages(*offset, *len)?, *offset))).collect();
            prop_assert_eq!(arena.by_length.into_iter().collect::<Vec<_>>(), by_length);
            prop_assert_eq!(arena.by_pages.into_iter().collect::<Vec<_>>(), by_pages);
        }
    }
}

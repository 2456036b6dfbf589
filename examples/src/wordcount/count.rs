//! Tables of words: filling, sending and merging them.

use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

/// Number of parts of a table.
pub(crate) const PARTITIONS: usize = 4;

/// Words with their numbers of occurrences.
#[derive(Debug, Default)]
pub(crate) struct Counter(FxHashMap<Box<str>, u64>);

impl Counter {
    /// Adds the words of a text: maximal sequences of letters, digits and underscores.
    pub(crate) fn count(&mut self, text: &str) {
        each_word(text, |word| match self.0.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(word.into(), 1);
            }
        });
    }

    /// The words, for splitting or summarising.
    pub(crate) fn words(&self) -> Words<'_> {
        Words(self.0.iter().map(|(word, &count)| (&**word, count)).collect())
    }
}

/// A table in its sent form: all words in one string, with length in bytes and count of each, so that encoding and
/// decoding allocate no string per word.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    text: String,
    words: Vec<(u32, u64)>,
}

impl Counts {
    fn push(&mut self, word: &str, count: u64) {
        self.text.push_str(word);
        // A word is part of a file in memory; words of 4 GiB do not occur in practice.
        self.words.push((u32::try_from(word.len()).unwrap_or(u32::MAX), count));
    }

    fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        let mut rest = self.text.as_str();
        self.words.iter().map_while(move |&(length, count)| {
            let (word, after) = rest.split_at_checked(length as usize)?;
            rest = after;
            Some((word, count))
        })
    }
}

/// A table that borrows its words.
#[derive(Debug)]
pub(crate) struct Words<'a>(Vec<(&'a str, u64)>);

impl<'a> Words<'a> {
    /// Merges the tables.
    pub(crate) fn merge(tables: &'a [Counts]) -> Self {
        let largest = tables.iter().map(|counts| counts.words.len()).max().unwrap_or_default();
        let mut merged = FxHashMap::with_capacity_and_hasher(largest * 2, FxBuildHasher);
        for (word, count) in tables.iter().flat_map(Counts::iter) {
            match merged.entry(word) {
                Entry::Occupied(mut entry) => *entry.get_mut() += count,
                Entry::Vacant(entry) => {
                    entry.insert(count);
                }
            }
        }
        Words(merged.into_iter().collect())
    }

    /// Splits by the words' hashes: a word is in the same part in every process.
    pub(crate) fn partition(&self) -> [Counts; PARTITIONS] {
        let mut parts: [Counts; PARTITIONS] = Default::default();
        for &(word, count) in &self.0 {
            // The upper bits, since hash tables use the lower ones.
            let hash = FxBuildHasher.hash_one(word) >> 32;
            parts[hash as usize % PARTITIONS].push(word, count);
        }
        parts
    }

    /// The sent form.
    pub(crate) fn to_counts(&self) -> Counts {
        let mut counts = Counts::default();
        for &(word, count) in &self.0 {
            counts.push(word, count);
        }
        counts
    }

    /// The totals and the most frequent words.
    pub(crate) fn summary(mut self, top: usize) -> Summary {
        let words = self.0.iter().map(|(_, count)| count).sum();
        let distinct = self.0.len() as u64;
        // Sort only the words that are returned.
        if top < self.0.len() {
            self.0.select_nth_unstable_by_key(top, |&(word, count)| (Reverse(count), word));
            self.0.truncate(top);
        }
        self.0.sort_unstable_by_key(|&(word, count)| (Reverse(count), word));
        let top = self.0.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        Summary { words, distinct, top }
    }
}

/// The printed result.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Number of words.
    pub(crate) words: u64,
    /// Number of different words.
    pub(crate) distinct: u64,
    /// The most frequent words, most frequent first, ties in the order of their characters.
    pub(crate) top: Vec<(String, u64)>,
}

impl Summary {
    /// Joins two summaries that have no word in common.
    pub(crate) fn join(mut self, other: Summary, top: usize) -> Self {
        self.words += other.words;
        self.distinct += other.distinct;
        self.top.extend(other.top);
        self.top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.top.truncate(top);
        self
    }
}

/// Calls `visit` with each word.
fn each_word<'a>(text: &'a str, mut visit: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    let mut start = None;
    let mut position = 0;
    while let Some(&byte) = bytes.get(position) {
        // Most text is ASCII, where a character is a byte.
        let (belongs, length) = match byte.is_ascii() {
            true => (byte.is_ascii_alphanumeric() || byte == b'_', 1),
            false => {
                text[position..].chars().next().map_or((false, 1), |c| (c.is_alphanumeric(), c.len_utf8()))
            }
        };
        match (belongs, start) {
            (true, None) => start = Some(position),
            (false, Some(begin)) => {
                visit(&text[begin..position]);
                start = None;
            }
            _ => {}
        }
        position += length;
    }
    if let Some(begin) = start {
        visit(&text[begin..]);
    }
}

//! Tables of words: how they are filled, sent and merged.

use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

/// Into how many parts a table is split.
pub(crate) const PARTITIONS: usize = 4;

/// Words with how often they occurred; grows as texts are counted.
#[derive(Debug, Default)]
pub(crate) struct Counter(FxHashMap<Box<str>, u64>);

impl Counter {
    /// Adds the words of a text: what letters, digits and underscores there are without something else in between.
    pub(crate) fn count(&mut self, text: &str) {
        each_word(text, |word| match self.0.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.0.insert(word.into(), 1);
            }
        });
    }

    /// The words, to be split or summed up.
    pub(crate) fn words(&self) -> Words<'_> {
        Words(self.0.iter().map(|(word, &count)| (&**word, count)).collect())
    }
}

/// A table as it travels: all words in one string, each with its length in bytes and its count. So encoding and
/// decoding make no string a word.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    text: String,
    words: Vec<(u32, u64)>,
}

impl Counts {
    fn push(&mut self, word: &str, count: u64) {
        self.text.push_str(word);
        // A word is part of a file's text in memory; those beyond 4 GiB are cut into nonsense by nobody.
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
    /// All tables in one.
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

    /// Parts by the words' hashes: a word is in the same part everywhere.
    pub(crate) fn partition(&self) -> [Counts; PARTITIONS] {
        let mut parts: [Counts; PARTITIONS] = Default::default();
        for &(word, count) in &self.0 {
            // The upper bits: tables find their places by the lower ones.
            let hash = FxBuildHasher.hash_one(word) >> 32;
            parts[hash as usize % PARTITIONS].push(word, count);
        }
        parts
    }

    /// As it travels.
    pub(crate) fn to_counts(&self) -> Counts {
        let mut counts = Counts::default();
        for &(word, count) in &self.0 {
            counts.push(word, count);
        }
        counts
    }

    /// The numbers, and the most frequent words.
    pub(crate) fn summary(mut self, top: usize) -> Summary {
        let words = self.0.iter().map(|(_, count)| count).sum();
        let distinct = self.0.len() as u64;
        // Only those that matter are sorted.
        if top < self.0.len() {
            self.0.select_nth_unstable_by_key(top, |&(word, count)| (Reverse(count), word));
            self.0.truncate(top);
        }
        self.0.sort_unstable_by_key(|&(word, count)| (Reverse(count), word));
        let top = self.0.into_iter().map(|(word, count)| (word.to_owned(), count)).collect();
        Summary { words, distinct, top }
    }
}

/// What is printed.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// How many words there are.
    pub(crate) words: u64,
    /// How many different ones.
    pub(crate) distinct: u64,
    /// The most frequent ones, most frequent first, equally frequent ones in the order of their characters.
    pub(crate) top: Vec<(String, u64)>,
}

impl Summary {
    /// The summary of both, which have no word in common.
    pub(crate) fn join(mut self, other: Summary, top: usize) -> Self {
        self.words += other.words;
        self.distinct += other.distinct;
        self.top.extend(other.top);
        self.top.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.top.truncate(top);
        self
    }
}

/// Calls `then` with each word.
fn each_word<'a>(text: &'a str, mut then: impl FnMut(&'a str)) {
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
                then(&text[begin..position]);
                start = None;
            }
            _ => {}
        }
        position += length;
    }
    if let Some(begin) = start {
        then(&text[begin..]);
    }
}

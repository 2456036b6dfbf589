//! How the items of a list are distributed over engines.

/// Which items of a list go to which engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// Contiguous blocks: the first engine gets the first items. The lengths differ by at most one.
    #[default]
    Block,
    /// One item at a time: the first engine gets the first item, the second engine the second.
    RoundRobin,
}

impl Distribution {
    /// The parts, one per engine.
    pub(crate) fn split<T>(self, items: impl IntoIterator<Item = T>, engines: usize) -> Vec<Vec<T>> {
        match self {
            Distribution::Block => blocks(items.into_iter().collect(), engines),
            Distribution::RoundRobin => {
                let mut parts: Vec<Vec<T>> = (0..engines).map(|_| Vec::new()).collect();
                items.into_iter().enumerate().for_each(|(place, item)| parts[place % engines].push(item));
                parts
            }
        }
    }
}

fn blocks<T>(items: Vec<T>, engines: usize) -> Vec<Vec<T>> {
    let (each, rest) = (items.len() / engines, items.len() % engines);
    let mut items = items.into_iter();
    (0..engines).map(|place| items.by_ref().take(each + usize::from(place < rest)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_even_and_complete() {
        assert_eq!(Distribution::Block.split(0..7, 3), [vec![0, 1, 2], vec![3, 4], vec![5, 6]]);
        assert_eq!(Distribution::RoundRobin.split(0..7, 3), [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
        for distribution in [Distribution::Block, Distribution::RoundRobin] {
            assert_eq!(distribution.split([9], 2), [vec![9], vec![]]);
        }
    }
}

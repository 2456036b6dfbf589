//! Which ranks are on which host.

/// The ranks of one host, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    ranks: Vec<usize>,
    name: String,
}

impl Host {
    pub(crate) fn size(&self) -> usize {
        self.ranks.len()
    }

    /// The rank that speaks for the host.
    pub(crate) fn first(&self) -> usize {
        self.rank_at(0)
    }

    pub(crate) fn rank_at(&self, place: usize) -> usize {
        self.ranks.get(place).copied().unwrap_or_default()
    }

    pub(crate) fn place_of(&self, rank: usize) -> usize {
        self.ranks.binary_search(&rank).unwrap_or_default()
    }
}

/// All of them, by their first ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    hosts: Vec<Host>,
    /// The host of each rank.
    of_rank: Vec<usize>,
    /// The place of each rank if those of the first host come first, then those of the second, and so on.
    in_order: Vec<usize>,
}

impl Hosts {
    /// One rank on one host.
    pub(crate) fn alone() -> Self {
        Hosts::new(&[(0, "this host".to_owned())])
    }

    /// Each rank says the first rank of its host, and the host's name.
    pub(crate) fn new(said: &[(usize, String)]) -> Self {
        let mut hosts: Vec<Host> = Vec::new();
        let mut of_rank = Vec::with_capacity(said.len());
        let mut numbers = std::collections::BTreeMap::new();
        for (rank, (first, name)) in said.iter().enumerate() {
            let number = *numbers.entry(*first).or_insert_with(|| {
                hosts.push(Host { ranks: Vec::new(), name: name.clone() });
                hosts.len() - 1
            });
            hosts[number].ranks.push(rank);
            of_rank.push(number);
        }
        let mut in_order = vec![0; said.len()];
        for (place, rank) in hosts.iter().flat_map(|host| &host.ranks).enumerate() {
            in_order[*rank] = place;
        }
        Hosts { hosts, of_rank, in_order }
    }

    /// How many ranks there are.
    pub(crate) fn size(&self) -> usize {
        self.of_rank.len()
    }

    /// How many hosts there are.
    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    pub(crate) fn number_of(&self, rank: usize) -> usize {
        self.of_rank.get(rank).copied().unwrap_or_default()
    }

    /// The host of a rank.
    pub(crate) fn of(&self, rank: usize) -> &Host {
        &self.hosts[self.number_of(rank)]
    }

    pub(crate) fn name_of(&self, rank: usize) -> &str {
        &self.of(rank).name
    }

    pub(crate) fn place_in_order(&self, rank: usize) -> usize {
        self.in_order.get(rank).copied().unwrap_or_default()
    }

    /// How many ranks each host has.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.hosts.iter().map(Host::size)
    }

    /// Who writes on each host what rank `source` has: itself on its own, the first rank on each other one, in the order in
    /// which they pass it on.
    pub(crate) fn writers(&self, source: usize) -> impl Iterator<Item = usize> {
        let (start, count) = (self.number_of(source), self.hosts.len());
        let others = (1..count).map(move |step| self.hosts[(start + step) % count].first());
        std::iter::once(source).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(first: &[usize]) -> Hosts {
        let said: Vec<_> = first.iter().map(|first| (*first, format!("h{first}"))).collect();
        Hosts::new(&said)
    }

    #[test]
    fn ranks_of_a_host_need_not_be_neighbours() {
        let hosts = hosts(&[0, 1, 0, 1, 4]);
        assert_eq!((hosts.size(), hosts.count()), (5, 3));
        assert_eq!((hosts.of(3).ranks.as_slice(), hosts.name_of(3)), ([1, 3].as_slice(), "h1"));
        assert_eq!((hosts.of(3).place_of(3), hosts.of(3).first(), hosts.number_of(4)), (1, 1, 2));
        assert_eq!((0..5).map(|rank| hosts.place_in_order(rank)).collect::<Vec<_>>(), [0, 2, 1, 3, 4]);
        assert_eq!(hosts.sizes().collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn the_source_writes_on_its_own_host() {
        let hosts = hosts(&[0, 1, 0, 1, 4]);
        assert_eq!(hosts.writers(3).collect::<Vec<_>>(), [3, 4, 0]);
        assert_eq!(Hosts::alone().writers(0).collect::<Vec<_>>(), [0]);
    }
}

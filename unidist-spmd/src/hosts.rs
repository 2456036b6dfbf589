//! Which ranks are on which host.

/// The ranks of one host, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostRanks {
    ranks: Vec<usize>,
    name: String,
}

impl HostRanks {
    pub(crate) fn size(&self) -> usize {
        self.ranks.len()
    }

    /// The rank that communicates with other hosts.
    pub(crate) fn leader(&self) -> usize {
        self.rank_at(0)
    }

    pub(crate) fn rank_at(&self, index: usize) -> usize {
        self.ranks.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn index_of(&self, rank: usize) -> usize {
        self.ranks.binary_search(&rank).unwrap_or_default()
    }
}

/// All hosts, ordered by their leaders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostLayout {
    hosts: Vec<HostRanks>,
    /// The host of each rank.
    host_of_rank: Vec<usize>,
    /// The index of each rank if those of the first host come first, then those of the second, and so on.
    host_order: Vec<usize>,
}

impl HostLayout {
    /// One rank on one host.
    pub(crate) fn alone() -> Self {
        HostLayout::new(&[(0, "this host".to_owned())])
    }

    /// From the leader of each rank's host, and the name of that host.
    pub(crate) fn new(leaders: &[(usize, String)]) -> Self {
        let mut hosts: Vec<HostRanks> = Vec::new();
        let mut host_of_rank = Vec::with_capacity(leaders.len());
        let mut numbers = std::collections::BTreeMap::new();
        for (rank, (leader, name)) in leaders.iter().enumerate() {
            let number = *numbers.entry(*leader).or_insert_with(|| {
                hosts.push(HostRanks { ranks: Vec::new(), name: name.clone() });
                hosts.len() - 1
            });
            hosts[number].ranks.push(rank);
            host_of_rank.push(number);
        }
        let mut host_order = vec![0; leaders.len()];
        for (index, rank) in hosts.iter().flat_map(|host| &host.ranks).enumerate() {
            host_order[*rank] = index;
        }
        HostLayout { hosts, host_of_rank, host_order }
    }

    /// The number of ranks.
    pub(crate) fn size(&self) -> usize {
        self.host_of_rank.len()
    }

    /// The number of hosts.
    pub(crate) fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// The number of a rank's host.
    pub(crate) fn host_number(&self, rank: usize) -> usize {
        self.host_of_rank.get(rank).copied().unwrap_or_default()
    }

    /// The ranks of a rank's host.
    pub(crate) fn host_of(&self, rank: usize) -> &HostRanks {
        &self.hosts[self.host_number(rank)]
    }

    pub(crate) fn host_name(&self, rank: usize) -> &str {
        &self.host_of(rank).name
    }

    pub(crate) fn index_in_host_order(&self, rank: usize) -> usize {
        self.host_order.get(rank).copied().unwrap_or_default()
    }

    /// The number of ranks of each host.
    #[cfg_attr(
        not(any(feature = "mpi", feature = "ndarray")),
        allow(dead_code, reason = "for a network and for printing")
    )]
    pub(crate) fn host_sizes(&self) -> impl Iterator<Item = usize> {
        self.hosts.iter().map(HostRanks::size)
    }

    /// The rank that writes data of `source` on each host: `source` itself on its own host, the leader on each other one, in
    /// the order in which they forward the data.
    pub(crate) fn writers(&self, source: usize) -> impl Iterator<Item = usize> {
        let (start, count) = (self.host_number(source), self.hosts.len());
        let others = (1..count).map(move |step| self.hosts[(start + step) % count].leader());
        std::iter::once(source).chain(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(leaders: &[usize]) -> HostLayout {
        let leaders: Vec<_> = leaders.iter().map(|leader| (*leader, format!("h{leader}"))).collect();
        HostLayout::new(&leaders)
    }

    #[test]
    fn ranks_of_a_host_need_not_be_consecutive() {
        let layout = layout(&[0, 1, 0, 1, 4]);
        assert_eq!((layout.size(), layout.host_count()), (5, 3));
        assert_eq!((layout.host_of(3).ranks.as_slice(), layout.host_name(3)), ([1, 3].as_slice(), "h1"));
        assert_eq!(
            (layout.host_of(3).index_of(3), layout.host_of(3).leader(), layout.host_number(4)),
            (1, 1, 2)
        );
        assert_eq!((0..5).map(|rank| layout.index_in_host_order(rank)).collect::<Vec<_>>(), [0, 2, 1, 3, 4]);
        assert_eq!(layout.host_sizes().collect::<Vec<_>>(), [2, 2, 1]);
    }

    #[test]
    fn source_writes_on_its_own_host() {
        let layout = layout(&[0, 1, 0, 1, 4]);
        assert_eq!(layout.writers(3).collect::<Vec<_>>(), [3, 4, 0]);
        assert_eq!(HostLayout::alone().writers(0).collect::<Vec<_>>(), [0]);
    }
}

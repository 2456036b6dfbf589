//! CPU slots and custom resources: what there is, what is free, what a call asks for.

use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use unidist_common::{DataId, ErrorKind, TaskError, TaskOptions};

/// Amounts are counted in thousandths, so that sums are exact.
const UNIT: f64 = 1000.0;

/// The name of the built-in resource.
pub(crate) const CPU: &str = "CPU";

/// A kind of request: calls that ask for the same are scheduled alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class(u32);

impl Class {
    /// One CPU and nothing else: what a call asks for unless it says otherwise.
    pub(crate) const DEFAULT: Class = Class(0);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A custom resource, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Custom(usize);

/// What a class asks for, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    cpus: i64,
    custom: Vec<(usize, i64)>,
    actor: bool,
    priority: i32,
}

/// The resources of the session and the queues of calls that are ready for them.
#[derive(Debug)]
pub(crate) struct Resources {
    names: Vec<String>,
    total_cpus: i64,
    total: Vec<i64>,
    free_cpus: i64,
    free: Vec<i64>,
    requests: Vec<Request>,
    classes: FxHashMap<Request, Class>,
    queues: Vec<VecDeque<(u64, DataId)>>,
    arrivals: u64,
}

impl Resources {
    pub(crate) fn new(cpus: usize, custom: &BTreeMap<String, f64>) -> Self {
        let total: Vec<_> = custom.values().map(|amount| thousandths(*amount)).collect();
        let total_cpus = thousandths(cpus as f64);
        let mut resources = Resources {
            names: custom.keys().cloned().collect(),
            total_cpus,
            free_cpus: total_cpus,
            free: total.clone(),
            total,
            requests: Vec::new(),
            classes: FxHashMap::default(),
            queues: Vec::new(),
            arrivals: 0,
        };
        let default = Request { cpus: thousandths(1.0), custom: Vec::new(), actor: false, priority: 0 };
        resources.intern(default);
        resources
    }

    /// The class of a call with these options, or the error if no host can ever satisfy it.
    pub(crate) fn classify(&mut self, options: &TaskOptions, actor: bool) -> Result<Class, TaskError> {
        let priority = options.priority.unwrap_or(0);
        if !actor && options.num_cpus.is_none() && options.resources.is_empty() && priority == 0 {
            return Ok(Class::DEFAULT);
        }
        let cpus = options.num_cpus.unwrap_or(if actor { 0.0 } else { 1.0 });
        let mut missing = Vec::new();
        if !amount_is_valid(cpus) || thousandths(cpus) > self.total_cpus {
            missing.push(format!("{CPU}={cpus} (there are {})", self.total_cpus as f64 / UNIT));
        }
        let mut custom: BTreeMap<usize, i64> = BTreeMap::new();
        for (name, amount) in options.resources.iter().filter(|(_, amount)| *amount != 0.0) {
            match self.names.iter().position(|known| known == name) {
                Some(at) if amount_is_valid(*amount) => {
                    let sum = custom.entry(at).or_default();
                    *sum = sum.saturating_add(thousandths(*amount));
                }
                Some(_) => missing.push(format!("{name}={amount}, which is no amount")),
                None => missing.push(format!("{name}={amount} (there is none)")),
            }
        }
        for (&at, &amount) in &custom {
            if amount > self.total[at] {
                let (asked, there) = (amount as f64 / UNIT, self.total[at] as f64 / UNIT);
                missing.push(format!("{}={asked} (there are {there})", self.names[at]));
            }
        }
        if missing.is_empty() {
            let request =
                Request { cpus: thousandths(cpus), custom: custom.into_iter().collect(), actor, priority };
            return Ok(self.intern(request));
        }
        let message = format!(
            "no host has {}: declare it with UNIDIST_RESOURCES or UNIDIST_CPUS, or ask for less",
            missing.join(", ")
        );
        Err(TaskError::new(ErrorKind::Unsatisfiable, message))
    }

    fn intern(&mut self, request: Request) -> Class {
        if let Some(class) = self.classes.get(&request) {
            return *class;
        }
        let class = Class(self.requests.len() as u32);
        self.classes.insert(request.clone(), class);
        self.requests.push(request);
        self.queues.push(VecDeque::new());
        class
    }

    /// Whether what the class asks for is free now.
    pub(crate) fn fits(&self, class: Class) -> bool {
        let request = &self.requests[class.index()];
        (request.cpus == 0 || self.free_cpus >= request.cpus)
            && request.custom.iter().all(|&(at, amount)| self.free[at] >= amount)
    }

    /// Whether only CPUs are missing for the class.
    pub(crate) fn lacks_cpus_only(&self, class: Class) -> bool {
        self.requests[class.index()].custom.iter().all(|&(at, amount)| self.free[at] >= amount)
    }

    /// The custom resources of which ready calls of these classes find too little.
    pub(crate) fn lacking(&self, classes: &[Class]) -> Vec<Custom> {
        let asked = classes.iter().flat_map(|class| &self.requests[class.index()].custom);
        let mut lacking: Vec<_> =
            asked.filter(|&&(at, amount)| self.free[at] < amount).map(|&(at, _)| Custom(at)).collect();
        lacking.sort_unstable();
        lacking.dedup();
        lacking
    }

    pub(crate) fn asks_for(&self, class: Class, resource: Custom) -> bool {
        self.requests[class.index()].custom.iter().any(|&(at, _)| at == resource.0)
    }

    pub(crate) fn name(&self, resource: Custom) -> &str {
        &self.names[resource.0]
    }

    pub(crate) fn needs_cpus(&self, class: Class) -> bool {
        self.requests[class.index()].cpus > 0
    }

    pub(crate) fn is_actor(&self, class: Class) -> bool {
        self.requests[class.index()].actor
    }

    /// Takes everything the class asks for. The CPUs free may become fewer than none: a call that goes on after a wait
    /// does not wait for its slot again.
    pub(crate) fn take(&mut self, class: Class) {
        self.take_cpus(class);
        for &(at, amount) in &self.requests[class.index()].custom {
            self.free[at] -= amount;
        }
    }

    /// Gives everything back.
    pub(crate) fn give(&mut self, class: Class) {
        self.give_cpus(class);
        self.give_custom(class);
    }

    pub(crate) fn take_cpus(&mut self, class: Class) {
        self.free_cpus -= self.requests[class.index()].cpus;
    }

    pub(crate) fn give_cpus(&mut self, class: Class) {
        self.free_cpus += self.requests[class.index()].cpus;
    }

    pub(crate) fn give_custom(&mut self, class: Class) {
        for &(at, amount) in &self.requests[class.index()].custom {
            self.free[at] += amount;
        }
    }

    /// Puts a call at the end of its queue.
    pub(crate) fn push(&mut self, class: Class, task: DataId) {
        self.arrivals += 1;
        self.queues[class.index()].push_back((self.arrivals, task));
    }

    /// Puts a call that had its turn already back to the start of its queue.
    pub(crate) fn push_front(&mut self, class: Class, task: DataId) {
        self.queues[class.index()].push_front((0, task));
    }

    /// The call of the highest priority that has waited longest, leaving out the classes held back and, if `no_cpus`, those that need CPUs.
    /// Calls for which `is_ready` is false have been taken elsewhere and are forgotten.
    pub(crate) fn next_ready(
        &mut self,
        held_back: &[Class],
        no_cpus: bool,
        is_ready: impl Fn(DataId) -> bool,
    ) -> Option<(Class, DataId)> {
        let mut best: Option<(Reverse<i32>, u64, Class, DataId)> = None;
        for (number, queue) in self.queues.iter_mut().enumerate() {
            let class = Class(number as u32);
            if queue.is_empty() || held_back.contains(&class) || no_cpus && self.requests[number].cpus > 0 {
                continue;
            }
            while queue.front().is_some_and(|&(_, task)| !is_ready(task)) {
                queue.pop_front();
            }
            let urgency = Reverse(self.requests[number].priority);
            if let Some(&(arrival, task)) = queue.front()
                && best.is_none_or(|(most, earliest, ..)| (urgency, arrival) < (most, earliest))
            {
                best = Some((urgency, arrival, class, task));
            }
        }
        best.map(|(.., class, task)| (class, task))
    }

    /// Takes the first call of this class off its queue.
    pub(crate) fn pop(&mut self, class: Class) {
        self.queues[class.index()].pop_front();
    }

    /// Every call that is queued.
    pub(crate) fn drain(&mut self) -> Vec<DataId> {
        self.queues.iter_mut().flat_map(|queue| queue.drain(..)).map(|(_, task)| task).collect()
    }

    /// Whether nothing is taken.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn all_free(&self) -> bool {
        self.free_cpus == self.total_cpus && self.free == self.total
    }

    #[cfg(test)]
    pub(crate) fn free_cpus(&self) -> f64 {
        self.free_cpus as f64 / UNIT
    }
}

fn amount_is_valid(amount: f64) -> bool {
    amount.is_finite() && (0.0..=1e12).contains(&amount)
}

fn thousandths(amount: f64) -> i64 {
    (amount * UNIT).round() as i64
}

//! Plain tests, as a user would write them. Under `cargo test` they are threads of one process and share a session;
//! under nextest each is a process. Either way the workers are this very executable.

use std::collections::HashSet;
use unidist::prelude::*;
use unidist::{SharedSlice, closure, init, map, put_slice};
use unidist_downstream::inventory::{Inventory, Missing, deliver};
use unidist_downstream::statistics::{largest, parallel_mean, partial, sorted};

mod local {
    use unidist::prelude::*;

    #[remote]
    pub(crate) fn process() -> u32 {
        std::process::id()
    }

    #[remote]
    pub(crate) fn fib(n: u64) -> unidist::Result<u64> {
        if n < 2 {
            return Ok(n);
        }
        let (a, b) = get((fib.remote(n - 1), fib.remote(n - 2)))?;
        Ok(a + b)
    }
}

#[test]
fn default_backend_is_used() {
    let _session = init().unwrap();
    assert_eq!(unidist::config::Backend::get().unwrap().as_str(), "pymp");
    assert_ne!(get(local::process.remote()).unwrap(), std::process::id());
}

#[test]
fn functions_of_the_library() {
    let _session = init().unwrap();
    assert_eq!(get(partial.remote(put(vec![1.0, 2.0]).unwrap())).unwrap(), (3.0, 2));
    assert_eq!(parallel_mean((0..1001).map(f64::from).collect(), 7).unwrap(), 500.0);
}

#[test]
fn generic_functions_of_the_library() {
    let _session = init().unwrap();
    assert_eq!(get(sorted::<i32>.remote(vec![3, 1, 2])).unwrap(), [1, 2, 3]);
    assert_eq!(get(sorted::<String>.remote(["b", "a"].map(String::from).to_vec())).unwrap(), ["a", "b"]);
    assert_eq!(largest(vec![vec!['x', 'z'], vec![], vec!['y']]).unwrap(), Some('z'));
    // A type of this crate in a function of the library.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
    struct Version(u8, u8);
    assert_eq!(
        largest(vec![vec![Version(1, 2)], vec![Version(1, 10), Version(0, 9)]]).unwrap(),
        Some(Version(1, 10))
    );
}

#[test]
fn actor_of_the_library() {
    let _session = init().unwrap();
    let inventory = Inventory::remote();
    let deliveries: Vec<_> = (1..=4).map(|n| deliver.remote(&inventory, "nail".to_owned(), n)).collect();
    get(deliveries).unwrap();
    assert_eq!(get(inventory.take.remote("nail".to_owned(), 3)).unwrap(), 7);
    let error = get(inventory.take.remote("nail".to_owned(), 9)).unwrap_err();
    assert_eq!(error.downcast(), Some(Missing { item: "nail".into(), by: 2 }));
    assert_eq!(get(inventory.total.remote()).unwrap(), 7);
}

#[test]
fn functions_and_closures_of_a_test() {
    let _session = init().unwrap();
    assert_eq!(get(local::fib.remote(10)).unwrap(), 55);
    assert_eq!(get(map(|x: i64| x * x, 0..4)).unwrap(), [0, 1, 4, 9]);
    let offset = 10;
    assert_eq!(get(closure!([offset] |x: i64| x + offset).map(0..2)).unwrap(), [10, 11]);
}

#[test]
fn actors_of_a_test() {
    struct Log(Vec<String>);
    #[remote]
    impl Log {
        #[new]
        fn new(first: String) -> Self {
            Log(vec![first])
        }
        fn push(&mut self, line: String) -> usize {
            self.0.push(line);
            self.0.len()
        }
        fn process(&self) -> u32 {
            std::process::id()
        }
    }
    let _session = init().unwrap();
    let logs = ["a", "b"].map(|name| Log::remote(name.to_owned()));
    assert_eq!(get(logs.each_ref().map(|log| log.push.remote("x".to_owned()))).unwrap(), [2, 2]);
    let mut processes: HashSet<_> =
        get(logs.each_ref().map(|log| log.process.remote())).unwrap().into_iter().collect();
    processes.insert(std::process::id());
    assert_eq!(processes.len(), 3);
}

#[test]
fn large_arrays() {
    let _session = init().unwrap();
    let data = put_slice(&vec![0.5; 1 << 18]).unwrap();
    let total = |data: SharedSlice<f64>| data.iter().sum::<f64>();
    assert_eq!(get([total.remote(&data), total.remote(&data)]).unwrap(), [f64::from(1 << 17); 2]);
}

#[test]
fn failure_is_an_error_of_the_test() {
    let _session = init().unwrap();
    let fails = |x: u8| {
        assert_eq!(x, 1, "as expected");
        x
    };
    let error = get(fails.remote(2)).unwrap_err();
    assert!(error.to_string().contains("as expected"), "{error}");
    assert_eq!(get(fails.remote(1)).unwrap(), 1);
}

#[test]
fn sessions_one_after_the_other() {
    for n in 0..3 {
        let session = init().unwrap();
        assert_eq!(get(put(n).unwrap()).unwrap(), n);
        drop(session); // ends it, unless another test has it too
    }
}

//! What a call site hands to the backend.

use crate::args::INLINE_LIMIT;
use crate::remote_traits::*;
use crate::testing::{runner, with_session, without_session};
use crate::{Dep, ObjectRef, closure, get, put};
use serde::{Deserialize, Serialize, Serializer};
use unidist_backend::Backend;
use unidist_common::{Arg, DataId, Error, ErrorKind, Target};

fn double(x: i64) -> i64 {
    2 * x
}

fn len(items: Vec<u8>) -> usize {
    items.len()
}

#[test]
fn small_argument_is_sent_in_the_call() {
    with_session(|memory| {
        let result = double.remote(3);
        let [spec] = &memory.take_submitted()[..] else { panic!() };
        assert!(matches!(&spec.args[..], [Arg::Value(bytes)] if bytes[..] == 3i64.to_le_bytes()));
        assert_eq!((spec.target, spec.returns.count), (Target::Pool, 1));
        assert_eq!(Some(spec.returns.first), result.id());
        assert!(spec.name.ends_with("calls::double"));
        assert!(spec.dependencies.is_empty() && spec.borrowed.is_empty());
        assert_eq!(memory.references(spec.returns.first), 1);
        drop(result);
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn large_argument_becomes_an_object() {
    with_session(|memory| {
        let large = vec![7u8; INLINE_LIMIT];
        let result = len.remote(&large);
        let spec = memory.take_submitted().remove(0);
        let [Arg::Ref(id)] = spec.args[..] else { panic!() };
        assert_eq!(spec.dependencies, [id]);
        assert_eq!(memory.references(id), 1, "only the call holds it");
        let ended = unidist_backend::TaskRunner::start(&runner(), memory.call(&spec)).unwrap();
        memory.finish(&spec, ended);
        assert_eq!(get(&result), Ok(large.len()));
        drop(result);
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn refs_become_dependencies_and_are_counted() {
    with_session(|memory| {
        let (a, b) = (put(1i64).unwrap(), put(2i64).unwrap());
        let ids = [&a, &b].map(|r| r.id().unwrap());
        let sum = (|items: Vec<i64>, last: i64| items.iter().sum::<i64>() + last)
            .remote([&a, &b].map(Clone::clone), &b);
        let spec = memory.take_submitted().remove(0);
        assert_eq!(spec.args, [Arg::List(ids.to_vec()), Arg::Ref(ids[1])]);
        assert_eq!(spec.dependencies, [ids[0], ids[1], ids[1]]);
        drop((a, b));
        let ended = unidist_backend::TaskRunner::start(&runner(), memory.call(&spec)).unwrap();
        memory.finish(&spec, ended);
        assert_eq!(get(&sum), Ok(5));
        drop(sum);
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn refs_inside_a_value_are_borrowed_and_deps_are_dependencies() {
    #[derive(Serialize, Deserialize)]
    struct Job(ObjectRef<i64>, Dep<String>);
    with_session(|memory| {
        let (number, text) = (put(1i64).unwrap(), put("text".to_owned()).unwrap());
        let job = Job(number.clone(), (&text).into());
        let run = |job: Job| (job.1.len(), job.0);
        let result = run.remote(job);
        let spec = memory.take_submitted().remove(0);
        assert_eq!(spec.borrowed, [number.id().unwrap()]);
        assert_eq!(spec.dependencies, [text.id().unwrap()]);
        let runner = runner();
        let ended = unidist_backend::TaskRunner::start(&runner, memory.call(&spec)).unwrap();
        memory.finish(&spec, ended);
        unidist_backend::TaskRunner::turn(&runner, &mut |_| {}); // lets go of what the result refers to
        drop((number, text));
        let (len, number) = get(&result).unwrap();
        assert_eq!((len, get(&number)), (4, Ok(1)));
        drop((result, number));
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn ref_yields_the_error_of_a_failed_submit() {
    #[derive(Deserialize)]
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it is broken"))
        }
    }
    with_session(|memory| {
        let failed = (|_: Broken| 1i64).remote(Broken);
        let error = get(&failed).unwrap_err();
        assert_eq!(error.as_task().unwrap().kind, ErrorKind::Encode);
        assert!(error.to_string().contains("it is broken"), "{error}");
        let after = get(double.remote(&failed)).unwrap_err();
        assert_eq!(after.as_task().unwrap().kind, ErrorKind::DependencyFailed);
        assert_eq!(after.as_task().unwrap().root_cause().kind, ErrorKind::Encode);
        let inside = put(vec![failed]).unwrap();
        assert!(get(&get(inside).unwrap()[0]).is_err(), "a failed ref keeps its error when it is sent");
        for options in [double.options().num_cpus(f64::INFINITY), double.options().resource("gpu", -0.5)] {
            assert!(get(options.remote(1)).unwrap_err().to_string().contains("not negative"));
        }
        assert!(memory.take_submitted().is_empty());
        assert_eq!(memory.live_objects(), Ok(0));
    });
    without_session(|| {
        let error = get(double.remote(1)).unwrap_err();
        assert_eq!(error, Error::NotInitialized { call: "double.remote".into() });
        assert!(matches!(put(1), Err(Error::NotInitialized { .. })));
    });
}

#[test]
fn ref_of_another_session_is_rejected() {
    let mut stale = None;
    with_session(|_| stale = Some(put(1i64).unwrap()));
    with_session(|memory| {
        let error = get(double.remote(stale.as_ref().unwrap())).unwrap_err();
        assert!(error.to_string().contains("a session that has ended"), "{error}");
        assert!(memory.take_submitted().is_empty());
        assert_eq!(get(stale.as_ref().unwrap()), Ok(1), "its own backend still answers");
    });
}

#[test]
fn options_are_merged_and_defaults_shared() {
    with_session(|memory| {
        drop((double.remote(1), double.remote(2)));
        drop(double.options().num_cpus(2).resource("gpu", 1).resource("gpu", 0.5).name("twice").remote(3));
        let specs = memory.take_submitted();
        assert!(std::sync::Arc::ptr_eq(&specs[0].options, &specs[1].options));
        let options = &specs[2].options;
        assert_eq!((options.num_cpus, &options.resources[..]), (Some(2.0), &[("gpu".to_owned(), 0.5)][..]));
        assert_eq!(&*specs[2].name, "twice");
    });
}

#[test]
fn bound_closure_encodes_its_values_once() {
    with_session(|memory| {
        let (k, object) = (5i64, put(7i64).unwrap());
        let id: DataId = object.id().unwrap();
        let bound = closure!([k, object] |x: i64| k + x + get(&object).unwrap());
        drop(object);
        let refs = bound.map(0..2);
        for spec in memory.take_submitted() {
            assert_eq!((spec.args.len(), &spec.borrowed[..]), (2, &[id][..]));
            let ended = unidist_backend::TaskRunner::start(&runner(), memory.call(&spec)).unwrap();
            memory.finish(&spec, ended);
        }
        assert_eq!(get(&refs), Ok(vec![12, 13]));
        drop((bound, refs));
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn call_without_returns_needs_no_reference() {
    with_session(|memory| {
        double.options().num_returns::<0>().remote(1);
        let spec = memory.take_submitted().remove(0);
        assert_eq!(spec.returns.count, 0);
        let ended = unidist_backend::TaskRunner::start(&runner(), memory.call(&spec));
        assert_eq!(ended, Some(Ok(Vec::new())));
    });
}

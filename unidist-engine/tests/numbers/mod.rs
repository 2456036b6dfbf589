//! The functions of the test programs are numbers: see `Numbers`.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use unidist_backend::LaunchCommand;
use unidist_backend::{Backend, Call, CallResult, Outcome, Program, Progress, TaskRunner};
use unidist_common::{
    ActorId, Arg, DataId, ErrorKind, FunctionKey, Object, Payload, Returns, Target, TaskError, TaskSpec,
};
use unidist_engine::controller::ControllerSettings;

pub(crate) const SUM: FunctionKey = FunctionKey(1);
pub(crate) const EXIT: FunctionKey = FunctionKey(2);
pub(crate) const FIB: FunctionKey = FunctionKey(3);
pub(crate) const BIG: FunctionKey = FunctionKey(4);
pub(crate) const PID: FunctionKey = FunctionKey(5);
pub(crate) const SUBMIT_AND_KEEP: FunctionKey = FunctionKey(6);
/// Writes its first argument into its process's ring to the engine, and its second into the ring's counter, then waits
/// to be killed.
pub(crate) const WRITE: FunctionKey = FunctionKey(7);
/// Does the same, and then ends its process.
pub(crate) const WRITE_AND_EXIT: FunctionKey = FunctionKey(8);
/// Sleeps for this many milliseconds.
pub(crate) const NAP: FunctionKey = FunctionKey(9);
/// The number of bytes of all its objects, each of which must be 1.
pub(crate) const COUNT_ONES: FunctionKey = FunctionKey(10);
/// The value of the variable `TEST_HOST` in its process, or 0.
pub(crate) const HOST: FunctionKey = FunctionKey(11);

static BACKEND: OnceLock<Arc<dyn Backend>> = OnceLock::new();

pub(crate) fn install(backend: Arc<dyn Backend>) {
    assert!(BACKEND.set(backend).is_ok());
}

pub(crate) fn program() -> Program {
    Program { runner: |_| Box::new(Numbers::default()), build_id: || "numbers".to_owned() }
}

/// Sums numbers, and misbehaves on request.
#[derive(Default)]
struct Numbers {
    kept: RefCell<Vec<DataId>>,
}

impl TaskRunner for Numbers {
    fn start(&self, call: Call) -> Option<CallResult> {
        if let WRITE | WRITE_AND_EXIT = call.function {
            write_to_the_engine(&call.args);
            if call.function == WRITE_AND_EXIT {
                std::process::exit(3);
            }
            std::thread::sleep(Duration::from_secs(50));
        }
        if call.function == COUNT_ONES {
            let bytes = call.objects.iter().flat_map(|(_, object)| object.header.iter());
            let ones = bytes.inspect(|byte| assert_eq!(**byte, 1)).count() as u64;
            return Some(Ok(vec![Object::from(Payload::inline(ones.to_le_bytes().to_vec()))]));
        }
        let values: Vec<u64> = call
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Value(bytes) => number(bytes),
                Arg::Ref(id) => {
                    number(&call.objects.iter().find(|(object, _)| object == id).unwrap().1.header)
                }
                Arg::List(_) | Arg::Parts(_) => 0,
            })
            .collect();
        let result = match call.function {
            SUM => values.iter().sum(),
            EXIT => std::process::exit(values[0] as i32),
            FIB => fib(values[0]),
            HOST => std::env::var("TEST_HOST").map_or(0, |host| host.parse().unwrap()),
            PID => u64::from(std::process::id()),
            BIG => return Some(Ok(vec![Payload::inline(vec![1u8; values[0] as usize]).into()])),
            SUBMIT_AND_KEEP => {
                let backend = BACKEND.get().unwrap();
                self.kept.borrow_mut().push(submit(&**backend, SUM, &[]));
                0
            }
            NAP => {
                std::thread::sleep(Duration::from_millis(values[0]));
                0
            }
            other => {
                return Some(Err(TaskError::new(ErrorKind::UnknownFunction, format!("{other:?}"))));
            }
        };
        Some(Ok(vec![Object::from(Payload::inline(result.to_le_bytes().to_vec()))]))
    }

    fn turn(&self, _: &mut dyn FnMut(Progress)) -> bool {
        false
    }

    fn pending(&self) -> usize {
        0
    }

    fn drop_actor(&self, _: ActorId) {}
}

/// Changes the memory of the link without the engine, as a corrupted process could: see `Layout` in `ring.rs`.
fn write_to_the_engine(args: &[Arg]) {
    const HEAD: u64 = 64 + 3 * 64;
    const DATA: u64 = 4096 + 256 * 1024;
    let [Arg::Value(bytes), Arg::Value(count)] = args else { panic!("{args:?}") };
    let files = std::fs::read_dir("/proc/self/fd").unwrap().map(|file| file.unwrap().path());
    let mut links = files.filter(|file| {
        std::fs::read_link(file).is_ok_and(|name| name.to_string_lossy().contains("memfd:unidist-link"))
    });
    let memory = File::options().read(true).write(true).open(links.next().unwrap()).unwrap();
    assert!(links.next().is_none(), "a worker has one link");
    let mut head = [0; 8];
    memory.read_exact_at(&mut head, HEAD).unwrap();
    memory.write_all_at(bytes, DATA + number(&head)).unwrap();
    memory.write_all_at(&(number(&head).wrapping_add(number(count))).to_le_bytes(), HEAD).unwrap();
    // The engine notices when its current sleep ends, at the latest.
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let backend = &**BACKEND.get().unwrap();
    let ids = [submit(backend, FIB, &[n - 1]), submit(backend, FIB, &[n - 2])];
    let outcomes = backend.get(&ids).unwrap();
    ids.iter().for_each(|id| backend.release(*id));
    outcomes.into_iter().map(|outcome| number(&outcome.unwrap().header)).sum()
}

pub(crate) fn submit(backend: &dyn Backend, function: FunctionKey, values: &[u64]) -> DataId {
    let args = values.iter().map(|value| Arg::Value(value.to_le_bytes().to_vec().into())).collect();
    submit_with(backend, function, args, vec![])
}

pub(crate) fn submit_with(
    backend: &dyn Backend,
    function: FunctionKey,
    args: Vec<Arg>,
    dependencies: Vec<DataId>,
) -> DataId {
    let first = backend.reserve(1);
    backend.submit(TaskSpec {
        function,
        body: None,
        name: "number".into(),
        target: Target::Pool,
        asynchronous: false,
        args,
        dependencies,
        borrowed: vec![],
        returns: Returns { first, count: 1 },
        options: Arc::default(),
    });
    first
}

pub(crate) fn get(backend: &dyn Backend, id: DataId) -> Outcome {
    let outcome = backend.get(&[id]).unwrap().pop().unwrap();
    backend.release(id);
    outcome
}

pub(crate) fn settings() -> ControllerSettings {
    ControllerSettings {
        cancel_grace: Duration::from_secs(1),
        backend: "test",
        cpus: 2,
        resources: Default::default(),
        object_store_memory: 64 << 20,
        spill_dir: None,
        spill_limit: None,
        max_pending_tasks: None,
        max_processes: None,
        log_dir: None,
        inline_limit: ControllerSettings::INLINE_LIMIT,
        ip: "127.0.0.1".into(),
        launch: LaunchCommand::this_program(),
    }
}

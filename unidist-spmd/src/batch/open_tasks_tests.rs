use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cells that the threads of one process share.
impl AtomicCells for Vec<AtomicU64> {
    fn load(&self, cell: usize) -> Result<u64> {
        self[..].load(cell)
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        self[..].add(cell, value)
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        self[..].compare_and_swap(cell, old, new)
    }
}

fn tasks(states: &[TaskState]) -> OpenTasks<Vec<AtomicU64>> {
    let cells = initial_values(states, 0).into_iter().map(AtomicU64::new).collect();
    OpenTasks::new(cells, states.len())
}

fn to(state: TaskState) -> impl Fn(TaskState) -> Option<TaskState> {
    move |_| Some(state)
}

#[test]
fn open_tasks_are_taken_in_order_and_once() {
    use TaskState::*;
    let tasks = tasks(&[Done, Open, Invalid, Open, Running, Failed, Open]);
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take().unwrap()).collect();
    assert_eq!(taken, [1, 3, 6]);
    let states: Vec<_> = (0..7).map(|task| tasks.state(task).unwrap()).collect();
    assert_eq!(states, [Done, Running, Invalid, Running, Running, Failed, Running]);
    assert_eq!(tasks.take().unwrap(), None);
}

#[test]
fn list_may_be_empty() {
    assert_eq!(tasks(&[]).take().unwrap(), None);
}

#[test]
fn reopened_task_is_next() {
    let tasks = tasks(&[TaskState::Open; 3]);
    assert_eq!(tasks.take().unwrap(), Some(0));
    assert_eq!(tasks.set(0, to(TaskState::Open)).unwrap(), TaskState::Running);
    assert_eq!(tasks.set(0, to(TaskState::Open)).unwrap(), TaskState::Open);
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take().unwrap()).collect();
    assert_eq!(taken, [0, 1, 2]);
}

#[test]
fn closed_task_is_skipped_and_can_be_reopened() {
    let tasks = tasks(&[TaskState::Open; 3]);
    tasks.set(1, to(TaskState::Done)).unwrap();
    tasks.set(2, to(TaskState::Failed)).unwrap();
    tasks.set(2, to(TaskState::Open)).unwrap();
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take().unwrap()).collect();
    assert_eq!(taken, [0, 2], "one of the two is still listed, the other is not open");
    tasks.set(1, to(TaskState::Open)).unwrap();
    assert_eq!(tasks.take().unwrap(), Some(1));
}

#[test]
fn tag_of_the_top_wraps_around() {
    let tasks = tasks(&[TaskState::Open; 2]);
    let top = tasks.cells.load(tasks.top()).unwrap();
    tasks.cells[tasks.top()].store(u64::from(u32::MAX) << 32 | top, Ordering::SeqCst);
    assert_eq!(
        (tasks.take().unwrap(), tasks.take().unwrap(), tasks.take().unwrap()),
        (Some(0), Some(1), None)
    );
}

#[test]
fn one_scan_is_due_per_interval_and_a_clock_set_back_is_harmless() {
    let tasks = tasks(&[]);
    assert!(!tasks.scan_due(9, 10).unwrap());
    assert!(tasks.scan_due(10, 10).unwrap());
    assert!(!tasks.scan_due(19, 10).unwrap());
    assert!(tasks.scan_due(1_000, 10).unwrap());
    assert!(tasks.scan_due(20, 10).unwrap());
}

/// Cells that run an action after the first read of a link, in place of another thread.
struct Interrupted<'a> {
    cells: &'a Vec<AtomicU64>,
    links: Range<usize>,
    action: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl AtomicCells for Interrupted<'_> {
    fn load(&self, cell: usize) -> Result<u64> {
        let value = self.cells.load(cell);
        let action = self.action.borrow_mut().take_if(|_| self.links.contains(&cell));
        action.into_iter().for_each(|action| action());
        value
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        self.cells.add(cell, value)
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        self.cells.compare_and_swap(cell, old, new)
    }
}

/// The ABA problem: the same task is on top again, but was removed meanwhile and now has another successor.
#[test]
fn reinserted_top_is_detected() {
    let others = tasks(&[TaskState::Open, TaskState::Open, TaskState::Done]);
    let reinsert = || {
        assert_eq!(others.take().unwrap(), Some(0));
        others.open(2).unwrap();
        others.open(0).unwrap();
    };
    let cells =
        Interrupted { cells: &others.cells, links: 3..6, action: RefCell::new(Some(Box::new(reinsert))) };
    let tasks = OpenTasks::new(cells, 3);
    let taken: Vec<_> = std::iter::from_fn(|| tasks.take().unwrap()).collect();
    assert_eq!(taken, [0, 2, 1]);
}

#[derive(Clone, Debug)]
enum Step {
    Take,
    Set(usize, TaskState),
}

fn steps() -> impl Strategy<Value = (Vec<TaskState>, Vec<Step>)> {
    let state = || prop::sample::select(TaskState::ALL.to_vec());
    prop::collection::vec(state(), 1..12).prop_flat_map(move |states| {
        let step =
            prop_oneof![Just(Step::Take), (0..states.len(), state()).prop_map(|(t, s)| Step::Set(t, s))];
        (Just(states), prop::collection::vec(step, 0..60))
    })
}

proptest! {
    /// The model consists of the states: a taken task was open, and no task is taken only if none is open.
    #[test]
    fn taken_tasks_were_open_and_no_open_task_is_lost((mut model, steps) in steps()) {
        let tasks = tasks(&model);
        for step in steps {
            match step {
                Step::Set(task, state) => {
                    prop_assert_eq!(tasks.set(task, to(state)).unwrap(), model[task]);
                    model[task] = state;
                }
                Step::Take => match tasks.take().unwrap() {
                    Some(task) => {
                        prop_assert_eq!(model[task], TaskState::Open);
                        model[task] = TaskState::Running;
                    }
                    None => prop_assert!(!model.contains(&TaskState::Open)),
                },
            }
            for (task, &state) in model.iter().enumerate() {
                prop_assert_eq!(tasks.state(task).unwrap(), state);
            }
        }
        let open = model.iter().filter(|&&state| state == TaskState::Open).count();
        let rest: HashSet<_> = std::iter::from_fn(|| tasks.take().unwrap()).collect();
        prop_assert_eq!(rest.len(), open);
    }
}

/// The number of threads that take tasks.
const TAKERS: usize = 4;

fn run_in_threads(run: impl Fn(usize) + Sync) {
    let start = Barrier::new(TAKERS);
    std::thread::scope(|scope| {
        for taker in 0..TAKERS {
            let (run, start) = (&run, &start);
            scope.spawn(move || {
                start.wait();
                run(taker);
            });
        }
    });
}

#[test]
fn threads_take_each_task_once() {
    let tasks = tasks(&vec![TaskState::Open; 10_000]);
    let taken: Vec<AtomicUsize> = (0..tasks.n_tasks()).map(|_| AtomicUsize::new(0)).collect();
    run_in_threads(|_| {
        while let Some(task) = tasks.take().unwrap() {
            taken[task].fetch_add(1, Ordering::Relaxed);
            tasks.set(task, to(TaskState::Done)).unwrap();
        }
    });
    assert!(taken.iter().all(|times| times.load(Ordering::Relaxed) == 1));
}

#[test]
fn threads_take_each_task_once_per_opening() {
    const ROUNDS: usize = 50;
    let tasks = tasks(&[TaskState::Open; 7]);
    let taken: Vec<AtomicUsize> = (0..tasks.n_tasks()).map(|_| AtomicUsize::new(0)).collect();
    run_in_threads(|_| {
        while let Some(task) = tasks.take().unwrap() {
            let times = taken[task].fetch_add(1, Ordering::SeqCst) + 1;
            let next = if times < ROUNDS { TaskState::Open } else { TaskState::Done };
            assert_eq!(
                tasks.set(task, to(next)).unwrap(),
                TaskState::Running,
                "only the thread that took it changes it"
            );
        }
    });
    assert!(taken.iter().all(|times| times.load(Ordering::SeqCst) == ROUNDS));
    assert!((0..tasks.n_tasks()).all(|task| tasks.state(task).unwrap() == TaskState::Done));
}

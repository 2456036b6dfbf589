//! Ids of processes, hosts, objects, tasks, actors, groups and requests.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

const SEQUENCE_BITS: u32 = 40;
const SEQUENCE_MASK: u64 = (1 << SEQUENCE_BITS) - 1;

/// A process of a session: the controller, a worker, an actor process or a monitor. Never reused in a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(u32);

impl ProcessId {
    /// The user's program.
    pub const CONTROLLER: ProcessId = ProcessId(0);
    /// The largest number a process can have.
    pub const MAX: u32 = (1 << (64 - SEQUENCE_BITS)) - 1;

    /// The process with this number, if it is at most [`ProcessId::MAX`].
    pub const fn new(number: u32) -> Option<ProcessId> {
        if number <= Self::MAX { Some(ProcessId(number)) } else { None }
    }

    /// The number of this process: 0 for the controller, then counted up.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("controller"),
            n => write!(f, "worker {n}"),
        }
    }
}

/// One immutable object, unique in a session. Calls and actors have ids of their own: [`TaskId`], [`ActorId`].
///
/// A process makes ids without coordination: its own number is part of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DataId(u64);

impl DataId {
    /// The `sequence`-th id (counted modulo 2⁴⁰) made by `origin`.
    pub const fn new(origin: ProcessId, sequence: u64) -> DataId {
        DataId(((origin.0 as u64) << SEQUENCE_BITS) | (sequence & SEQUENCE_MASK))
    }

    /// The process that made this id.
    pub const fn origin(self) -> ProcessId {
        ProcessId((self.0 >> SEQUENCE_BITS) as u32)
    }

    /// The number of this id among those of its origin.
    pub const fn sequence(self) -> u64 {
        self.0 & SEQUENCE_MASK
    }

    /// The id as one number; ids of one origin that follow each other are neighbours.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The id with this number.
    pub const fn from_bits(bits: u64) -> DataId {
        DataId(bits)
    }

    /// The id `n` places after this one: the `n`-th return of the task named by this id.
    pub const fn nth(self, n: u32) -> DataId {
        DataId::new(self.origin(), self.sequence() + n as u64)
    }
}

impl fmt::Debug for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DataId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin().0, self.sequence())
    }
}

/// Shows ids of these types as the id that they consist of.
macro_rules! show_as_inner_id {
    ($($id:ident),*) => {
        $(
            impl fmt::Debug for $id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&self.0, f)
                }
            }

            impl fmt::Display for $id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&self.0, f)
                }
            }
        )*
    };
}

show_as_inner_id!(TaskId, ActorId, GroupId);

/// One call: a task, the constructor of an actor or a call of its method.
///
/// A call is named by its first return, whose id is reserved even if nothing is returned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(DataId);

impl TaskId {
    /// The call whose first return has this id.
    pub const fn of_first_return(id: DataId) -> TaskId {
        TaskId(id)
    }

    /// The id of the first return.
    pub const fn first_return(self) -> DataId {
        self.0
    }
}

/// One actor.
///
/// An actor is named by the return of its constructor, an object whose references are the handles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActorId(DataId);

impl ActorId {
    /// The actor whose handles refer to this object.
    pub const fn of_handle(id: DataId) -> ActorId {
        ActorId(id)
    }

    /// The actor that this call of a constructor makes.
    pub const fn of_constructor(call: TaskId) -> ActorId {
        ActorId(call.0)
    }

    /// The object whose references are the handles.
    pub const fn handle(self) -> DataId {
        self.0
    }

    /// The call of the constructor.
    pub const fn constructor(self) -> TaskId {
        TaskId(self.0)
    }
}

/// A group of calls.
///
/// A group is named by an id that is reserved for it; no object has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupId(DataId);

impl GroupId {
    /// The group for which this id was reserved.
    pub const fn of_reserved(id: DataId) -> GroupId {
        GroupId(id)
    }

    /// The id that was reserved for it.
    pub const fn reserved(self) -> DataId {
        self.0
    }
}

/// A host of the session, by its place in the list of all. The controller's is the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostId(u32);

impl HostId {
    /// The host of the controller.
    pub const CONTROLLER: HostId = HostId(0);

    /// The host at this place.
    pub const fn new(place: u32) -> Self {
        HostId(place)
    }

    /// Its place.
    pub const fn place(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host {}", self.0)
    }
}

/// A request of a process to the engine, unique among the open requests of the process. The reply repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Makes the ids of one process.
#[derive(Debug)]
pub struct IdSource {
    origin: ProcessId,
    next: AtomicU64,
}

impl IdSource {
    /// A source of ids for the process `origin`.
    pub const fn new(origin: ProcessId) -> Self {
        IdSource { origin, next: AtomicU64::new(1) }
    }

    /// The process whose ids these are.
    pub const fn origin(&self) -> ProcessId {
        self.origin
    }

    /// Reserves `count` consecutive ids (at least one) and returns the first.
    pub fn reserve(&self, count: u32) -> DataId {
        DataId::new(self.origin, self.next.fetch_add(u64::from(count.max(1)), Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_keeps_its_parts() {
        let origin = ProcessId::new(ProcessId::MAX).unwrap();
        let id = DataId::new(origin, SEQUENCE_MASK - 1);
        assert_eq!((id.origin(), id.sequence()), (origin, SEQUENCE_MASK - 1));
        assert_eq!(DataId::from_bits(id.to_bits()), id);
        assert_eq!(id.nth(1).origin(), origin);
        assert!(ProcessId::new(ProcessId::MAX + 1).is_none());
    }

    #[test]
    fn task_and_actor_are_encoded_like_their_objects() {
        let id = DataId::new(ProcessId::CONTROLLER, 7);
        let (task, actor) = (TaskId::of_first_return(id), ActorId::of_handle(id));
        assert_eq!((task.first_return(), actor.handle(), actor.constructor()), (id, id, task));
        assert_eq!(ActorId::of_constructor(task), actor);
        let encoded = crate::codec::encode(&id).unwrap();
        assert_eq!(crate::codec::encode(&task).unwrap(), encoded);
        assert_eq!(crate::codec::encode(&actor).unwrap(), encoded);
        assert_eq!(task.to_string(), id.to_string());
    }

    #[test]
    fn reserved_ranges_do_not_overlap() {
        let source = IdSource::new(ProcessId::CONTROLLER);
        let (a, b, c) = (source.reserve(3), source.reserve(0), source.reserve(1));
        assert_eq!(b, a.nth(3));
        assert_eq!(c, b.nth(1));
    }
}

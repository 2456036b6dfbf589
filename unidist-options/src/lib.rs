//! The options of calls and actors, each declared once.
//!
//! [`option_table!`] passes the table to a macro of the caller's. From it follow
//!
//! - the struct `TaskOptions` on the wire, its validation and its defaults (unidist-common);
//! - the builder methods of `.options()`, with their documentation (unidist-core);
//! - the parser of `#[remote(..)]`, its error texts and its documentation (unidist-macros).
//!
//! A new option is an entry here and the code in the scheduler that acts on it.
//!
//! # Kinds
//!
//! The kind of an option decides its type, how it is set and which values are valid:
//!
//! | Kind | Type | In `#[remote(..)]` | Valid |
//! |---|---|---|---|
//! | `Name` | `String` | `= "text"` | any |
//! | `Amount` | `f64` | `= 1.5` | finite, not negative |
//! | `Amounts` | list of name and `f64` | `(gpu = 1)` | each amount finite, not negative |
//! | `Count` | `u32` | `= 3` | any |
//! | `AtLeastOne` | `u32` | `= 3` | 1 and above |
//! | `Level` | `i32` | `= -1` | any |
//! | `TimeLimit` | `Duration` | `= 2.5` (seconds) | more than 0 |
//! | `Bytes` | `u64` | `= "4GiB"` | what [`parse_bytes`] reads |
//! | `Worker` | `ProcessId` | no | any |
//! | `Group` | `GroupSpec` | no | any |

mod bytes;

pub use bytes::{BYTES_ALLOWED, parse_bytes};

/// Invokes `$callback! { $args {entry} {entry} ... }`, where each entry is
///
/// ```text
/// {
///     /// The documentation of the field of `TaskOptions`.
///     field: Kind, set by builder_method;
///     builder {
///         call { /// The documentation of the method for calls of functions. }
///         method { /// ... for calls of actor methods. }
///         actor { /// ... for actors. }
///     }
///     attribute "example" {
///         Function "description in the documentation of `#[remote]`";
///         Method "..";
///         Actor "..";
///     }
///     misplaced {
///         Function "the error where the option is not allowed, if a better one is known";
///     }
/// }
/// ```
///
/// A builder, an item of the attribute, or the whole attribute that is left out does not have the option. Links in the
/// documentation of builders are resolved in unidist-core.
#[macro_export]
macro_rules! option_table {
    ($callback:ident! { $($args:tt)* }) => {
        $callback! {
            $($args)*
            {
                /// The name shown in errors and logs instead of the function's.
                name: Name, set by name;
                builder {
                    call {
                        /// The name shown in errors and logs.
                    }
                    method {
                        /// The name shown in errors and logs.
                    }
                    actor {
                        /// The name of the actor, by which [`get_actor`](crate::get_actor) finds it. One living actor of a
                        /// session can have it; the calls of a second one fail with a root cause of kind
                        /// [`NameTaken`](unidist_common::ErrorKind::NameTaken). Errors and logs show it.
                    }
                }
                attribute "name = \"..\"" {
                    Function "the name in errors, and the identity between builds in place of the path";
                    Method "the name in errors, after that of the actor";
                    Actor "the name in errors, and the identity between builds in place of the path";
                }
                misplaced {}
            }
            {
                /// CPU slots held while running. Default 1 for tasks, 0 for actors.
                num_cpus: Amount, set by num_cpus;
                builder {
                    call {
                        /// How many CPU slots the call holds while it runs. Default: what the definition says, or else
                        /// 1; 0 and fractions are allowed.
                    }
                    actor {
                        /// How many CPU slots the actor holds for its lifetime. Default: what the definition says, or
                        /// else 0.
                    }
                }
                attribute "num_cpus = 1" {
                    Function "the CPU slots that a call holds (default 1; 0 and fractions are allowed)";
                    Actor "the CPU slots that the actor holds for its lifetime (default 0)";
                }
                misplaced {}
            }
            {
                /// Custom resources held while running (an actor: for its lifetime), such as `("gpu", 1.0)`.
                resources: Amounts, set by resource;
                builder {
                    call {
                        /// How much of a custom resource (see `UNIDIST_RESOURCES`) the call holds while it runs.
                    }
                    actor {
                        /// How much of a custom resource (see `UNIDIST_RESOURCES`) the actor holds for its lifetime.
                    }
                }
                attribute "resources(gpu = 1, licence = 2)" {
                    Function "the custom resources that a call holds; a name may be a string";
                    Actor "the custom resources that the actor holds for its lifetime";
                }
                misplaced {}
            }
            {
                /// Bytes of memory held while running (an actor: for its lifetime), of the resource `memory`.
                memory: Bytes, set by memory;
                builder {
                    call {
                        /// How much of its host's memory the call needs while it runs: bytes, or a text such as `"4GiB"`.
                        /// Default 0. The scheduler starts no more calls on a host than its memory holds; it does not
                        /// limit what a call really uses. Hosts offer all their memory; `UNIDIST_RESOURCES="memory=8GiB"`
                        /// sets another amount.
                    }
                    actor {
                        /// How much of its host's memory the actor needs for its lifetime: bytes, or a text such as
                        /// `"4GiB"`. Default 0.
                    }
                }
                attribute "memory = \"4GiB\"" {
                    Function "how much of its host's memory a call needs (default 0), counted and not enforced";
                    Actor "how much of its host's memory the actor needs for its lifetime (default 0)";
                }
                misplaced {
                    Method "memory is held by the actor, not by a call: put `memory` on its `impl` block";
                }
            }
            {
                /// How often a task runs again after its worker died with it, or an actor's call on the restarted
                /// actor. Default 0. A call that was lost three times fails, whatever this says.
                max_retries: Count, set by max_retries;
                builder {
                    call {
                        /// How often the call runs again if its worker dies with it. Default 0. A call that was lost
                        /// with its worker three times fails in any case.
                    }
                    method {
                        /// How often the call runs again on the restarted actor (see [`ActorOptions::max_restarts`])
                        /// if the actor's process dies with it. Default 0. A call that was lost three times fails in
                        /// any case.
                    }
                }
                attribute "max_retries = 3" {
                    Function "how often a call runs again if its worker dies with it (default 0)";
                    Method "how often a call runs again on the restarted actor if the actor's process dies with it \
                            (default 0)";
                }
                misplaced {}
            }
            {
                /// Among the calls that are ready, those of higher priority start first. Default 0.
                priority: Level, set by priority;
                builder {
                    call {
                        /// Among calls that are ready, those of higher priority start first. Default 0.
                    }
                }
                attribute "priority = 1" {
                    Function "calls of higher priority start first (default 0)";
                }
                misplaced {}
            }
            {
                /// For actors: how many calls of asynchronous methods may be in flight at once. Default: no limit.
                max_concurrency: AtLeastOne, set by max_concurrency;
                builder {
                    actor {
                        /// How many calls of asynchronous methods may be in flight at once, at least 1. Default: no
                        /// limit.
                    }
                }
                attribute "max_concurrency = 8" {
                    Actor "how many calls of asynchronous methods may be in flight at once (default: no limit)";
                }
                misplaced {}
            }
            {
                /// For actors: how often one whose process has died is started again. Default 0.
                max_restarts: Count, set by max_restarts;
                builder {
                    actor {
                        /// How often the actor is started again when its process dies. Default 0. The constructor runs
                        /// again with the same arguments, in a new process. Calls that the dead process had not seen,
                        /// and those that waited, run there, in order; calls that it had seen fail, unless they may be
                        /// [retried](MethodOptions::max_retries). A constructor that returns an error or panics does
                        /// not run again.
                    }
                }
                attribute "max_restarts = 3" {
                    Actor "how often the actor is started again when its process dies (default 0)";
                }
                misplaced {
                    Function "only an actor can be restarted: for a function use `max_retries = 3`";
                    Method "an actor is restarted as a whole: put `max_restarts` on its `impl` block; to run interrupted \
                            calls of this method again, use `max_retries = 3`";
                }
            }
            {
                /// How long the call may run, from its start on. Default: no limit.
                timeout: TimeLimit, set by timeout;
                builder {
                    call {
                        /// How long the call may run, counted from its start on a worker. Default: no limit. A call
                        /// that takes longer fails with an error of kind
                        /// [`TimedOut`](unidist_common::ErrorKind::TimedOut) and does not run again; its code is
                        /// stopped as by [`cancel`](crate::cancel()).
                    }
                    method {
                        /// How long the call may run, counted from its start in the actor. Default: no limit. A call
                        /// that takes longer fails with an error of kind
                        /// [`TimedOut`](unidist_common::ErrorKind::TimedOut). The actor stays: the future of an
                        /// asynchronous method is dropped, a synchronous method can ask, as after
                        /// [`cancel`](crate::cancel()).
                    }
                    actor {
                        /// How long the constructor may run. Default: no limit. If it takes longer, the actor's
                        /// process is killed and the actor is dead.
                    }
                }
                attribute "timeout = 2.5" {
                    Function "how many seconds a call may run (default: no limit)";
                    Method "how many seconds a call may run (default: no limit)";
                    Actor "how many seconds the constructor may run (default: no limit)";
                }
                misplaced {}
            }
            {
                /// The worker that runs the task. Default: any.
                worker: Worker, set by on_worker;
                builder {
                    call {
                        /// The worker that runs the call, one of [`workers`](crate::workers()); no other does. If that
                        /// worker is gone before the call starts, the call fails with an error of kind
                        /// [`WorkerGone`](unidist_common::ErrorKind::WorkerGone); if it dies with the call, of kind
                        /// [`WorkerDied`](unidist_common::ErrorKind::WorkerDied).
                    }
                }
                attribute "" {}
                misplaced {}
            }
            {
                /// The group that the task belongs to. Default: the group of all tasks that name none.
                group: Group, set by group;
                builder {
                    call {
                        /// The [`Group`](crate::Group) of the call.
                    }
                }
                attribute "" {}
                misplaced {}
            }
        }
    };
}

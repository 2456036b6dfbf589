//! The third layer: the steps that change several tables, such as settling an object or failing a call.
//!
//! A step leaves the tables consistent with each other. Steps may lead to other steps; they never call the reactor.

pub(crate) mod actors;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod cancel_queued;
pub(crate) mod fail_task;
pub(crate) mod fetch;
pub(crate) mod notify;
pub(crate) mod processes;
pub(crate) mod ready;
pub(crate) mod references;
pub(crate) mod release;
pub(crate) mod requests;
pub(crate) mod retract;
pub(crate) mod run;
pub(crate) mod settle;
pub(crate) mod suspend;
pub(crate) mod timers;
pub(crate) mod views;
pub(crate) mod watches;

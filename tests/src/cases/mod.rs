//! The cases, by topic. The first line of each says what it promises.

mod actors;
mod async_actors;
mod async_tasks;
mod callbacks;
mod closures;
mod cluster;
mod configuration;
mod control;
mod core_files;
mod crashes;
mod encodable;
mod encoding;
mod endings;
mod errors;
mod executor;
mod executor_futures;
mod executor_maps;
mod executor_workers;
mod forks;
mod hosts;
mod large_vectors;
mod lifecycle;
mod memory;
mod named_actors;
mod nested;

mod objects;
mod options;
mod placement;
mod pool;
mod pool_objects;
mod processes;
mod programs;
mod ref_arguments;
mod regressions;
mod restarts;
mod restrictions;
mod security;
mod sends;
mod shared_slices;
mod shutdown;
mod signals;
mod store;
mod store_pressure;
mod tasks;
mod views;
mod views_balancing;
mod views_client;
mod views_dependencies;
#[cfg(feature = "sqlite")]
mod views_history;
mod views_results;
mod wait;
mod wait_sets;
mod wild_writes;

use crate::case::Case;

/// Every case, by group.
pub(crate) const ALL: &[&[Case]] = &[
    large_vectors::CASES,
    lifecycle::CASES,
    endings::CASES,
    configuration::CASES,
    cluster::CASES,
    objects::CASES,
    shared_slices::CASES,
    store::CASES,
    store_pressure::CASES,
    tasks::CASES,
    ref_arguments::CASES,
    sends::CASES,
    options::CASES,
    placement::CASES,
    closures::CASES,
    encoding::CASES,
    encodable::CASES,
    errors::CASES,
    wait::CASES,
    wait_sets::CASES,
    nested::CASES,
    actors::CASES,
    named_actors::CASES,
    async_actors::CASES,
    async_tasks::CASES,
    control::CASES,
    crashes::CASES,
    core_files::CASES,
    wild_writes::CASES,
    processes::CASES,
    signals::CASES,
    forks::CASES,
    restarts::CASES,
    callbacks::CASES,
    shutdown::CASES,
    memory::CASES,
    restrictions::CASES,
    security::CASES,
    regressions::CASES,
    hosts::CASES,
    views::CASES,
    views_balancing::CASES,
    views_results::CASES,
    views_dependencies::CASES,
    views_client::CASES,
    #[cfg(feature = "sqlite")]
    views_history::CASES,
    executor::CASES,
    executor_maps::CASES,
    executor_futures::CASES,
    executor_workers::CASES,
    pool::CASES,
    pool_objects::CASES,
];

/// Programs that cases start.
pub(crate) const HIDDEN: &[&[Case]] = &[
    crashes::PROGRAMS,
    memory::PROGRAMS,
    restrictions::PROGRAMS,
    endings::PROGRAMS,
    processes::PROGRAMS,
    signals::PROGRAMS,
    store::PROGRAMS,
    #[cfg(feature = "sqlite")]
    views_history::PROGRAMS,
];

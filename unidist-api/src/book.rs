//! Runs the samples of the user's book as doc tests, one item per chapter.

#[doc = include_str!("../../docs/getting-started.md")]
struct GettingStarted;

#[doc = include_str!("../../docs/choosing-a-backend.md")]
struct ChoosingABackend;

#[doc = include_str!("../../docs/tasks.md")]
struct Tasks;

#[doc = include_str!("../../docs/actors.md")]
struct Actors;

#[doc = include_str!("../../docs/objects.md")]
struct Objects;

#[doc = include_str!("../../docs/types.md")]
struct WhatCanBeSent;

#[doc = include_str!("../../docs/waiting-and-cancelling.md")]
struct WaitingAndCancelling;

#[doc = include_str!("../../docs/errors.md")]
struct Errors;

#[doc = include_str!("../../docs/processes.md")]
struct Processes;

#[doc = include_str!("../../docs/testing.md")]
struct Testing;

#[doc = include_str!("../../docs/configuration.md")]
struct Configuration;

#[doc = include_str!("../../docs/running-on-mpi.md")]
struct RunningOnMpi;

#[cfg(feature = "patterns")]
#[doc = include_str!("../../docs/from-ipyparallel.md")]
struct FromIpyparallel;

#[cfg(feature = "patterns")]
#[doc = include_str!("../../docs/from-mpi4py.md")]
struct FromMpi4py;

#[cfg(feature = "patterns")]
#[doc = include_str!("../../docs/from-pymor.md")]
struct FromPymor;

#[cfg(all(feature = "spmd", feature = "ndarray"))]
#[doc = include_str!("../../docs/from-pshmem.md")]
struct FromPshmem;

#[doc = include_str!("../../docs/examples.md")]
struct Examples;

#[doc = include_str!("../../docs/performance.md")]
struct Performance;

#[doc = include_str!("../../docs/requirements.md")]
struct Requirements;

#[doc = include_str!("../../docs/security.md")]
struct Security;

#[doc = include_str!("../../docs/troubleshooting.md")]
struct Troubleshooting;

#[doc = include_str!("../../docs/messages.md")]
struct Messages;

#[doc = include_str!("../../docs/glossary.md")]
struct Glossary;

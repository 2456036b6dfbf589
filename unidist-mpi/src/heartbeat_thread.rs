//! A thread that sends heartbeats to the other hosts while the engine is busy.

use crate::network::MpiNetwork;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct HeartbeatThread {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl HeartbeatThread {
    /// Polls the network whenever the engine has not done so for a heartbeat interval.
    pub(crate) fn start(network: &Arc<Mutex<MpiNetwork>>) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let (network, is_stopped) = (network.clone(), stopped.clone());
        let interval = network
            .lock()
            .map_or_else(|network| network.into_inner().interval(), |network| network.interval());
        let run = move || {
            while !is_stopped.load(Ordering::Acquire) {
                std::thread::park_timeout(interval / 2);
                // A locked network is in use, so it sends its own heartbeats.
                if let Ok(mut network) = network.try_lock()
                    && !is_stopped.load(Ordering::Acquire)
                {
                    network.keep_alive();
                }
            }
        };
        // Without the thread, other hosts may take this one for lost while its engine is busy.
        let thread = std::thread::Builder::new().name("unidist-heartbeat".into()).spawn(run).ok();
        HeartbeatThread { stopped, thread }
    }
}

impl Drop for HeartbeatThread {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread does not panic; if it did, the panic has been reported.
            let _ = thread.join();
        }
    }
}

//! The thread that is heard by other hosts while the engine is busy with something else for long.

use crate::network::MpiNetwork;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The thread. It ends with this value.
#[derive(Debug)]
pub(crate) struct Keeper {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Looks at the network now and then, unless whoever uses it does so himself.
    pub(crate) fn new(network: &Arc<Mutex<MpiNetwork>>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (network, is_over) = (network.clone(), over.clone());
        let interval = network
            .lock()
            .map_or_else(|network| network.into_inner().interval(), |network| network.interval());
        let keep = move || {
            while !is_over.load(Ordering::Acquire) {
                std::thread::park_timeout(interval / 2);
                // One that is in use needs nobody else.
                if let Ok(mut network) = network.try_lock()
                    && !is_over.load(Ordering::Acquire)
                {
                    network.keep_alive();
                }
            }
        };
        // Without it, what takes long may have others think that this host is gone.
        let thread = std::thread::Builder::new().name("unidist-heartbeat".into()).spawn(keep).ok();
        Keeper { over, thread }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It does not panic; and if it did, that was said.
            let _ = thread.join();
        }
    }
}

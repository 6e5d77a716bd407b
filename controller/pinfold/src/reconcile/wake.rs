//! The reason to look again, without the reason: wake-ups carry no payload and coalesce.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// Wakes the driver, from any thread.
#[derive(Clone, Debug)]
pub struct Wake(SyncSender<()>);

/// The driver's end.
#[derive(Debug)]
pub struct Woken(Receiver<()>);

/// A pair. However many wake-ups happen before the driver looks, it looks once.
pub fn wake() -> (Wake, Woken) {
    let (sender, receiver) = sync_channel(1);
    (Wake(sender), Woken(receiver))
}

impl Wake {
    /// Never blocks: a wake-up that is already waiting stands for this one too.
    pub fn wake(&self) {
        let _ = self.0.try_send(());
    }
}

impl Woken {
    /// Waits for a wake-up, at most this long.
    pub fn wait(&self, at_most: Duration) {
        match self.0.recv_timeout(at_most) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            // Nobody is left who could wake: time alone goes on.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(at_most),
        }
    }
}

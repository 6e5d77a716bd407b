//! What faces outside: sockets and signals, on one thread that ends with the process.
//!
//! The sockets and what answers on them may be replaced while it runs, as when the configuration changes; no signal is lost meanwhile.

use crate::api::Sockets;
use crate::api::server::{Api, serve};
use crate::daemon::DaemonError;
use crate::reconcile::Wake;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// What signals ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    stop: AtomicBool,
    reload: AtomicBool,
}

impl Asked {
    /// SIGTERM or SIGINT came.
    pub(crate) fn stop(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// SIGHUP came since this was last asked.
    pub(crate) fn reload(&self) -> bool {
        self.0.reload.swap(false, Ordering::AcqRel)
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Front {
    replace: Sender<(Sockets, Api)>,
}

type Server = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Front {
    /// Starts the thread. No signal after this is lost; each wakes the driver.
    pub(crate) fn start(wake: Wake) -> Result<(Self, Asked), DaemonError> {
        let system = |what| move |source| DaemonError::System { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("an asynchronous runtime"))?;
        let signals = {
            let _entered = runtime.enter();
            (|| {
                Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?))
            })()
            .map_err(system("a signal handler"))?
        };
        let (replace, mut replaced): (_, Receiver<(Sockets, Api)>) = channel(1);
        let asked = Asked::default();
        let flags = Arc::clone(&asked.0);
        let face = async move {
            let (mut terminate, mut interrupt, mut hangup) = signals;
            let mut server: Server = Box::pin(pending());
            loop {
                // Each arm is cancel-safe: signals are kept by their streams, the server lives across iterations.
                tokio::select! {
                    ended = &mut server => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "the API ended");
                        }
                        server = Box::pin(pending());
                        continue;
                    }
                    Some((sockets, api)) = replaced.recv() => {
                        server = Box::pin(serve(sockets, api));
                        continue;
                    }
                    _ = terminate.recv() => flags.stop.store(true, Ordering::Release),
                    _ = interrupt.recv() => flags.stop.store(true, Ordering::Release),
                    _ = hangup.recv() => flags.reload.store(true, Ordering::Release),
                }
                wake.wake();
            }
        };
        std::thread::Builder::new()
            .name("front".to_owned())
            .spawn(move || runtime.block_on(face))
            .map_err(system("a thread"))?;
        Ok((Self { replace }, asked))
    }

    /// Serves these sockets from now on, and no others.
    pub(crate) fn serve(&self, sockets: Sockets, api: Api) {
        if self.replace.blocking_send((sockets, api)).is_err() {
            tracing::error!("the API cannot be served: its thread is gone");
        }
    }
}

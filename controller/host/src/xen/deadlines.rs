//! How long a worker may take: every call into `pinfold-xen` has a deadline.

use protocol::Request;
use std::time::Duration;

/// The deadlines of all calls. The default is what a daemon uses.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For one answer of `serve`, its start included.
    pub answer: Duration,
    /// For one operation.
    pub operation: fn(&Request) -> Duration,
    /// Between SIGTERM, on which libxl tidies up, and SIGKILL.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), operation: deadline, grace: Duration::from_secs(10) }
    }
}

/// Guests that ignore us are the planner's business: nothing in a worker waits for one longer than libxl does.
fn deadline(request: &Request) -> Duration {
    Duration::from_secs(match request {
        Request::CreateDomain(_) | Request::DestroyDomain { .. } => 600,
        // Twice the memory of a large guest at the speed of a slow disk; the guest itself has 60 s of it (libxl_internal.h).
        Request::DumpDomain { .. } | Request::SaveDomain { .. } | Request::RestoreDomain { .. } => 3600,
        // Hotplug scripts have 40 s each (`LIBXL_HOTPLUG_TIMEOUT`, libxl_internal.h), guests 10 s.
        Request::ShutdownDomain { .. }
        | Request::PressPowerButton { .. }
        | Request::SetMedium { .. }
        | Request::AttachDisk { .. }
        | Request::DetachDisk { .. }
        | Request::AttachNic { .. }
        | Request::DetachNic { .. } => 90,
        Request::ShapeCpupool(_)
        | Request::RenameCpupool { .. }
        | Request::DestroyCpupool { .. }
        | Request::FeedPool0 { .. }
        | Request::PauseDomain { .. }
        | Request::ResumeDomain { .. }
        | Request::DiscardImage { .. }
        | Request::UnpauseDomain { .. }
        | Request::MoveDomain { .. }
        | Request::SetAffinity { .. }
        | Request::SetSched { .. }
        | Request::SetMemory { .. }
        | Request::SetVcpus { .. }
        | Request::RenameDomain { .. }
        | Request::ClaimDomain { .. } => 60,
    })
}

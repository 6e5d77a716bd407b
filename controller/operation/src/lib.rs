//! What one operation does to a hypervisor, call by call.
//!
//! [`Hypervisor`] is the list of calls. `pinfold-xen` runs operations on libxl, the simulator runs the very same code in memory, so
//! that a kill between any two calls, and the law of cores after every call, are tested on the code that changes real hosts.

mod hypervisor;

pub use hypervisor::Hypervisor;

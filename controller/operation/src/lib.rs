//! What one operation does to a hypervisor, call by call. Pure.

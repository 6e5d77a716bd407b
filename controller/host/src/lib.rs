//! A Xen host, real or simulated, as the reconcile loop sees it.

//! What every configuration of the tests and figures begins with.

/// The pool `lab` without a budget, its host `xen1` whose first two cores are dom0's, and the network `lan`.
pub const SITE: &str = "\
apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: \"0b9ad9d3-6f0e-4d2a-8f5d-5b6b2f6f3c11\", changes: {maxDeletions: \"100%\"}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}, {socket: 0, core: 1}]}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Network
metadata: {name: lan}
spec: {bridge: xenbr0}
";

//! The configuration that most tests begin with: one host with ten cores, two partitions, three VMs.

pub(crate) const POOL: &str = r#"apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec:
  id: "1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11"
  changes: {maxDeletions: 1}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}, {socket: 0, core: 1}]}}
"#;

const PARTITIONS: &str = "apiVersion: pinfold.dev/v1alpha1
kind: CorePartition
metadata: {name: oracle-a}
spec: {host: xen1, cores: [{socket: 0, core: 2}, {socket: 0, core: 3}]}
---
apiVersion: pinfold.dev/v1alpha1
kind: CorePartition
metadata: {name: oracle-b}
spec: {host: xen1, cores: [{socket: 0, core: 4}, {socket: 0, core: 5}]}
";

/// A VM's manifest; `more` goes into its `spec`, indented by two.
pub(crate) fn vm(name: &str, more: &str) -> String {
    format!(
        "apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  host: xen1\n  type: pvh\n  \
         vcpus: 2\n  memory: 128Mi\n  boot: {{kernel: /srv/guests/vmlinuz}}\n{more}"
    )
}

/// `pool.yaml`, `partitions.yaml` and the VMs `db` and `crm` in partitions, `web` outside.
pub(crate) fn first() -> Vec<(String, Option<String>)> {
    let file = |path: &str, text: String| (path.to_owned(), Some(text));
    vec![
        file("pool.yaml", POOL.to_owned()),
        file("partitions.yaml", PARTITIONS.to_owned()),
        file("vms/db.yaml", vm("db", "  cpu: {partition: oracle-a}\n")),
        file("vms/crm.yaml", vm("crm", "  cpu: {partition: oracle-b, weight: 512}\n")),
        file("vms/web.yaml", vm("web", "")),
    ]
}

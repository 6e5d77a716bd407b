//! `pinfold init`: a first configuration, which validates as it is.

use crate::kinds::API_VERSION;
use crate::units::{Core, Cores, Name};
use uuid::Uuid;

/// What a first configuration needs to know.
#[derive(Clone, Debug)]
pub struct Start {
    /// The pool's name.
    pub pool: Name,
    /// A random UUID for the pool. The caller makes it: this crate knows no randomness.
    pub pool_id: Uuid,
    /// The host's name, as in the daemon's own configuration.
    pub host: Name,
    /// Cores that dom0 keeps; socket 0, core 0 is added, because it has to be one of them.
    pub dom0_cores: Cores,
    /// The bridge that VMs attach to, such as `xenbr0`.
    pub bridge: String,
    /// Where the JSON Schemas are found, for editors: a URL or a path, without a last `/`.
    pub schemas: String,
}

/// The files of a first configuration, with their paths.
///
/// The caller checks `bridge` by reading the result: a name that is no bridge is a finding there.
pub fn init(start: &Start) -> Vec<(String, String)> {
    let Start { pool, pool_id, host, dom0_cores, bridge, schemas } = start;
    let head = |file: &str| {
        format!("# yaml-language-server: $schema={schemas}/{file}.schema.json\napiVersion: {API_VERSION}\n")
    };
    let mut cores = dom0_cores.clone();
    cores.insert(Core { socket: 0, core: 0 });
    let cores: Vec<_> =
        cores.iter().map(|Core { socket, core }| format!("      - {{socket: {socket}, core: {core}}}\n")).collect();
    let cores = cores.concat();
    vec![
        (".pinfoldignore".to_owned(), IGNORE.to_owned()),
        (
            "pool.yaml".to_owned(),
            format!(
                "{}kind: Pool\nmetadata:\n  name: {pool}\nspec:\n  \
                 # The identity of everything in the pool. Never change it.\n  \
                 id: \"{pool_id}\"\n  changes:\n    \
                 # A commit that removes more VMs and partitions than this waits for `pinfold approve`.\n    \
                 maxDeletions: 1\n    \
                 # A change that needs a restart waits for the VM's next start.\n    \
                 restarts: at-next-start\n",
                head("pool")
            ),
        ),
        (
            format!("hosts/{host}.yaml"),
            format!(
                "{}kind: Host\nmetadata:\n  name: {host}\nspec:\n  pool: {pool}\n  dom0:\n    \
                 # No partition may use these. Socket 0, core 0 is always one of them.\n    \
                 cores:\n{cores}",
                head("host")
            ),
        ),
        (
            "networks.yaml".to_owned(),
            format!(
                "{}kind: Network\nmetadata:\n  name: lan\nspec:\n  # A bridge that exists in dom0 of every host that uses it.\n  bridge: \"{bridge}\"\n",
                head("network")
            ),
        ),
        ("README.md".to_owned(), readme(&start.host)),
    ]
}

const IGNORE: &str = "# Files below that are no manifests of pinfold, in the syntax of .gitignore.\n";

fn readme(host: &Name) -> String {
    format!(
        "# Configuration of a Xen server pool\n\n\
         pinfold makes the hosts agree with this folder. Check a change with `pinfold validate .`, and see what it would do with `pinfold plan .`.\n\n\
         A hard partition, `partitions/oracle-a.yaml`:\n\n\
         ```yaml\n\
         apiVersion: {API_VERSION}\n\
         kind: CorePartition\n\
         metadata: {{name: oracle-a}}\n\
         spec:\n  host: {host}\n  cores: [{{socket: 0, core: 2}}, {{socket: 0, core: 3}}]\n\
         ```\n\n\
         A VM in it, `vms/erp-db.yaml`:\n\n\
         ```yaml\n\
         apiVersion: {API_VERSION}\n\
         kind: VirtualMachine\n\
         metadata: {{name: erp-db}}\n\
         spec:\n  host: {host}\n  type: pvh\n  vcpus: 2\n  memory: 2Gi\n  cpu: {{partition: oracle-a}}\n  \
         boot: {{grub: true}}\n  disks: [{{name: root, target: xvda, path: \"/srv/erp-db/root.img\"}}]\n  nics: [{{name: lan0, network: lan}}]\n\
         ```\n\n\
         `pinfold explain vm.spec` says what every field means.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::{Start, init};
    use crate::render;
    use crate::tree::{Content, SourceFile, Tree};

    fn start() -> Start {
        Start {
            pool: "lab".parse().unwrap(),
            pool_id: "1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11".parse().unwrap(),
            host: "xen1".parse().unwrap(),
            dom0_cores: [].into(),
            bridge: "xenbr0".to_owned(),
            schemas: "https://example.org/schema/v1alpha1".to_owned(),
        }
    }

    fn tree(files: &[(String, String)], more: &[&str]) -> Tree {
        let file = |(path, text): &(String, String)| SourceFile {
            path: path.clone(),
            content: Content::Text(text.clone().into_bytes()),
        };
        let more = more.iter().enumerate().map(|(index, text)| (format!("more-{index}.yaml"), (*text).to_owned()));
        Tree { files: files.iter().cloned().chain(more).map(|pair| file(&pair)).collect(), ignore: None }
    }

    #[test]
    fn the_first_configuration_validates() {
        let tree = tree(&init(&start()), &[]);
        assert_eq!(render::human(&crate::read(&tree).findings, &tree), "");
    }

    #[test]
    fn so_do_the_manifests_of_its_readme() {
        let files = init(&start());
        let readme = &files.iter().find(|(path, _)| path == "README.md").unwrap().1;
        let blocks: Vec<_> = readme.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(blocks.len(), 2);
        let tree = tree(&files, &blocks);
        assert_eq!(render::human(&crate::read(&tree).findings, &tree), "");
    }
}

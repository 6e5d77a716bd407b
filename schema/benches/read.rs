//! How long reading takes: 10,000 files of one VM each, good and with a fault in each.

use criterion::{Criterion, criterion_group, criterion_main};
use schema::{Content, SourceFile, Tree};
use std::hint::black_box;

const VMS: usize = 10_000;

fn tree(vm: impl Fn(usize) -> String) -> Tree {
    let file = |path: String, text: String| SourceFile { path, content: Content::Text(text.into_bytes()) };
    let base = include_str!("../tests/corpus/base.yaml").to_owned();
    let vms = (0..VMS).map(|index| file(format!("vms/vm-{index}.yaml"), vm(index)));
    Tree { files: std::iter::once(file("base.yaml".to_owned(), base)).chain(vms).collect(), ignore: None }
}

fn vm(index: usize) -> String {
    format!(
        "# yaml-language-server: $schema=../schema/v1alpha1/virtualmachine.schema.json\n\
         apiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata:\n  name: vm-{index}\n  labels: {{group: finance}}\n\
         spec:\n  host: xen1\n  type: pvh\n  power: running\n  restart: on-failure\n  vcpus: {{online: 2, max: 4}}\n  memory: {{target: 2Gi, max: 4Gi}}\n  \
         cpu:\n    partition: oracle-a\n    weight: 512\n    cap: 150\n  boot:\n    kernel: \"/boot/vmlinuz\"\n    ramdisk: \"/boot/initrd.img\"\n    \
         cmdline: \"console=hvc0 root=/dev/xvda1\"\n  disks:\n    - {{name: root, target: xvda, path: \"/srv/vm-{index}/root.img\"}}\n    \
         - {{name: data, target: xvdb, path: \"/srv/vm-{index}/data.img\"}}\n  nics:\n    - {{name: lan0, network: lan}}\n  \
         shutdown: {{timeout: 60s}}\n  protect: true\n"
    )
}

fn read(criterion: &mut Criterion) {
    let good = tree(vm);
    assert!(schema::read(&good).desired.is_some(), "the bench reads a good configuration");
    let bad =
        tree(|index| vm(index).replace("memory: {target: 2Gi", "memory: {target: 2G").replace("weight", "wieght"));
    assert_eq!(schema::read(&bad).findings.len(), 2 * VMS);
    let mut group = criterion.benchmark_group("read 10,000 VM files");
    group.sample_size(10);
    group.bench_function("good", |bencher| bencher.iter(|| schema::read(black_box(&good))));
    group.bench_function("two faults in each", |bencher| bencher.iter(|| schema::read(black_box(&bad))));
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);

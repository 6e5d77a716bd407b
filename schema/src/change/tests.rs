//! Rules of change, case by case.

use super::check;
use crate::render;
use crate::tree::{Content, SourceFile, Tree};
use crate::units::Name;
use std::fmt::Write;

const BASE: &str = "
apiVersion: pinfold.dev/v1alpha1
kind: Pool
metadata: {name: lab}
spec: {id: '1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11', changes: {maxDeletions: 1}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen1}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}]}}
---
apiVersion: pinfold.dev/v1alpha1
kind: Host
metadata: {name: xen2}
spec: {pool: lab, dom0: {cores: [{socket: 0, core: 0}]}}
";

/// A VM in one line: its name, and what differs from the usual.
fn vm(name: &str, more: &str) -> String {
    let host = if more.contains("host:") { "" } else { "host: xen1, " };
    format!(
        "---\napiVersion: pinfold.dev/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec: {{{host}type: pvh, vcpus: 1, memory: 64Mi, boot: {{kernel: /k}}{more}}}\n"
    )
}

fn partition(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: pinfold.dev/v1alpha1\nkind: CorePartition\nmetadata: {{name: {name}}}\nspec: {{host: xen1, cores: [{{socket: 0, core: 2}}]{more}}}\n"
    )
}

fn tree(text: &str) -> Tree {
    Tree {
        files: vec![SourceFile { path: "all.yaml".to_owned(), content: Content::Text(text.as_bytes().to_vec()) }],
        ignore: None,
    }
}

/// What the rules say about a step from one configuration to another.
fn report(accepted: &str, candidate: &str, unprotected: &[&str]) -> String {
    let (old, new) = (tree(&format!("{BASE}{accepted}")), tree(&format!("{BASE}{candidate}")));
    let (old_reading, new_reading) = (crate::read(&old), crate::read(&new));
    let show = |reading: &crate::Reading, tree: &Tree| render::human(&reading.findings, tree);
    let accepted = old_reading.desired.clone().unwrap_or_else(|| panic!("{}", show(&old_reading, &old)));
    let candidate = new_reading.desired.clone().unwrap_or_else(|| panic!("{}", show(&new_reading, &new)));
    let report =
        check(&accepted, &candidate, &new_reading.sources, &|name: &Name| unprotected.contains(&name.as_str()));
    let mut output = render::human(&report.findings, &new);
    let list = |names: &[Name]| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ");
    let (vms, partitions) = (list(&report.deletions.vms), list(&report.deletions.partitions));
    let over = if report.deletions.is_over_budget() { ", over budget" } else { "" };
    let _ =
        write!(output, "removes vms [{vms}] partitions [{partitions}] of at most {}{over}", report.deletions.budget);
    output
}

#[test]
fn nothing_changes() {
    let both = vm("a", "") + &partition("p", "");
    insta::assert_snapshot!(report(&both, &both, &[]), @"removes vms [] partitions [] of at most 1");
}

#[test]
fn removals_are_counted_together() {
    insta::assert_snapshot!(report(&(vm("a", "") + &vm("b", "") + &partition("p", "")), &vm("b", ", power: stopped"), &[]), @"removes vms [a] partitions [p] of at most 1, over budget");
}

#[test]
fn a_rename_removes_nothing() {
    let (old, new) =
        (vm("a", "") + &partition("p", ""), vm("b", ", formerly: [a]") + &partition("q", ", formerly: [p]"));
    insta::assert_snapshot!(report(&old, &new, &[]), @"removes vms [] partitions [] of at most 1");
    let back = vm("a", ", formerly: [a, b]") + &partition("q", ", formerly: [p]");
    insta::assert_snapshot!(report(&new, &back, &[]), @"removes vms [] partitions [] of at most 1");
}

#[test]
fn a_rename_without_formerly_is_pointed_out() {
    insta::assert_snapshot!(report(&vm("a", ""), &vm("b", ""), &[]), @r#"
    warning[looks-renamed]: VM `b` looks like `a` under a new name; as it stands, `a` is removed and `b` made anew
      --> all.yaml:19:18
       |
    19 | metadata: {name: b}
       |                  ^
       |
       = help: to rename it, add `formerly: [a]` to its `spec`
    removes vms [a] partitions [] of at most 1
    "#);
}

#[test]
fn former_names_stay() {
    insta::assert_snapshot!(report(&vm("b", ", formerly: [a]"), &vm("b", ""), &[]), @r#"
    error[identity-changed]: VM `b` would become another VM under the same name
      --> all.yaml:19:18
       |
    19 | metadata: {name: b}
       |                  ^
       |
       = help: restore `spec.formerly` and `spec.uuid`: the first name, or the UUID, is its identity for life; a new VM takes a new name
    removes vms [] partitions [] of at most 1
    "#);
}

#[test]
fn protect_holds_until_an_earlier_commit_lifted_it() {
    insta::assert_snapshot!(report(&vm("a", ", protect: true"), "", &[]), @r#"
    error[protected]: VM `a` is protected, and this commit removes it
     |
     = help: restore its manifest; to remove it, first commit it without `protect: true`, then remove it in a later commit
    removes vms [a] partitions [] of at most 1
    "#);
    insta::assert_snapshot!(report(&vm("a", ", protect: true"), "", &["a"]), @"removes vms [a] partitions [] of at most 1");
    insta::assert_snapshot!(report(&vm("a", ", protect: true"), &vm("b", ", protect: true, formerly: [a]"), &[]), @"removes vms [] partitions [] of at most 1");
}

#[test]
fn a_host_is_for_life() {
    insta::assert_snapshot!(report(&vm("a", ""), &vm("a", ", host: xen2"), &[]), @r#"
    error[host-changed]: VM `a` moves from host `xen1` to `xen2`
      --> all.yaml:20:69
       |
    20 | spec: {type: pvh, vcpus: 1, memory: 64Mi, boot: {kernel: /k}, host: xen2}
       |                                                                     ^^^^ was `xen1`
       |
       = help: hosts do not hand VMs over to each other yet: set `power: stopped`, wait until `xen1` reports it stopped, remove the manifest in a further commit, move its disks, then declare it on `xen2`
    removes vms [] partitions [] of at most 1
    "#);
}

#[test]
fn the_pool_id_is_for_life() {
    let old = tree(BASE);
    let new = tree(&BASE.replace("1f0c6f0e", "2f0c6f0e"));
    let (accepted, candidate) = (crate::read(&old).desired.unwrap(), crate::read(&new));
    let report = check(&accepted, &candidate.desired.unwrap(), &candidate.sources, &|_| false);
    insta::assert_snapshot!(render::human(&report.findings, &new), @r#"
    error[pool-id-changed]: the pool's id changes from 1f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11 to 2f0c6f0e-5d3b-4c1e-9a54-0d6b2f7c8e11
     --> all.yaml:4:18
      |
    4 | metadata: {name: lab}
      |                  ^^^
      |
      = help: restore the id: every VM's identity is made from it
    "#);
}

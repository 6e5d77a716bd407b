//! What other toolstacks say of a VM, as manifests: configurations of xl, and domains that run.
//!
//! [`xl`] and [`domains`] are the entry points. Pure: texts in, VMs and findings out. Nothing is executed, and no construct is dropped silently: what manifests cannot say is a finding
//! with its line, why, and what to do.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cpus;
mod devices;
mod disk;
mod domain;
mod hvm;
mod keys;
mod names;
mod report;
mod syntax;
mod valid;
mod xl;

use names::Networks;
use protocol::{Domain, Observation, Pcpu};
use schema::Finding;
use schema::desired::{Network, Vm};
use schema::units::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What the configuration that the manifests will belong to says already.
#[derive(Clone, Debug)]
pub struct Site {
    /// The host that the VMs live on.
    pub host: Name,
    /// Its networks: a NIC on a bridge joins the network of that bridge.
    pub networks: Vec<Network>,
    /// Its partitions on that host: a domain in a cpupool of that name joins the partition.
    pub partitions: BTreeSet<Name>,
    /// The VMs it has.
    pub vms: BTreeSet<Name>,
    /// The host's pCPUs, when they are known.
    pub pcpus: Option<Vec<Pcpu>>,
}

/// What came of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Each VM, and the file that it comes from.
    pub vms: Vec<(String, Vm)>,
    /// Networks for bridges that the configuration has none for.
    pub networks: Vec<Network>,
    /// What is not carried over (warnings), and what keeps a file from becoming a manifest (errors).
    pub findings: Vec<Finding>,
}

/// Turns configurations of xl, each with the name of its file, into VMs.
pub fn xl(files: &[(String, String)], site: &Site) -> Imported {
    let mut networks = Networks::new(&site.networks);
    let mut taken: BTreeMap<Name, Option<&str>> = site.vms.iter().map(|name| (name.clone(), None)).collect();
    let mut imported = Imported { vms: Vec::new(), networks: Vec::new(), findings: Vec::new() };
    for (file, text) in files {
        let (vm, findings) = xl::vm(file, text, site, &mut networks);
        imported.findings.extend(findings);
        let Some(vm) = vm else { continue };
        let problems = valid::problems(file, &vm);
        if !problems.is_empty() {
            imported.findings.extend(problems);
            continue;
        }
        if let Some(other) = taken.get(&vm.name) {
            let who = other.map_or_else(|| "the configuration".to_owned(), |other| format!("`{other}`"));
            let finding = Finding::error("no-manifest", format!("{who} has a VM `{}` already", vm.name))
                .help("give one of them another name")
                .at(schema::Location::of_file(file));
            imported.findings.push(finding);
            continue;
        }
        taken.insert(vm.name.clone(), Some(file));
        imported.vms.push((file.clone(), vm));
    }
    imported.networks = networks.added();
    imported
}

/// Turns domains that run into VMs, with their UUID and every MAC, so that each can be taken over as it is.
pub fn domains(which: &[&Domain], observation: &Observation, site: &Site) -> Imported {
    let mut networks = Networks::new(&site.networks);
    let mut imported = Imported { vms: Vec::new(), networks: Vec::new(), findings: Vec::new() };
    for domain in which {
        let (vm, findings) = domain::vm(domain, observation, site, &mut networks);
        imported.findings.extend(findings);
        let Some(vm) = vm else { continue };
        let others = imported.vms.iter().map(|(_, other): &(String, Vm)| &other.name);
        if others.chain(&site.vms).any(|name| *name == vm.name) {
            let finding = Finding::error("no-manifest", format!("there is a VM `{}` already", vm.name));
            imported.findings.push(finding.help("`xl rename` the domain, or rename the VM"));
            continue;
        }
        imported.vms.push((format!("domain {}", domain.domid), vm));
    }
    imported.networks = networks.added();
    imported
}

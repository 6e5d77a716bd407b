//! Which pCPUs xl means (`cpus=`, xl.cfg(5)), and which whole cores they are.

use protocol::Pcpu;
use schema::units::{Core, Cores};
use std::collections::BTreeSet;

/// The pCPUs of one text: `2-3,^3`, `all,^0`, `node:1`, `nodes:0-1,^node:1`. The error says why it is none.
pub(crate) fn parse(text: &str, pcpus: &[Pcpu]) -> Result<BTreeSet<u32>, String> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (removes, part) = part.strip_prefix('^').map_or((false, part), |rest| (true, rest));
        let nodes = part.strip_prefix("nodes:").or_else(|| part.strip_prefix("node:"));
        let known = || pcpus.iter().map(|pcpu| pcpu.id);
        let these: BTreeSet<u32> = match nodes {
            Some(nodes) => {
                let (first, last) = range(nodes)?;
                pcpus.iter().filter(|pcpu| (first..=last).contains(&pcpu.node)).map(|pcpu| pcpu.id).collect()
            }
            None if part == "all" => known().collect(),
            None => {
                let (first, last) = range(part)?;
                if let Some(missing) = (first..=last).find(|id| !known().any(|known| known == *id)) {
                    return Err(format!("the host has no pCPU {missing}"));
                }
                (first..=last).collect()
            }
        };
        if removes {
            cpus.retain(|cpu| !these.contains(cpu));
        } else {
            cpus.extend(these);
        }
    }
    if cpus.is_empty() { Err("it leaves no pCPU".to_owned()) } else { Ok(cpus) }
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("`{text}` is no range of pCPUs");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    // No host has more (NR_CPUS of Xen is at most 16383): a slip of the finger, and a loop without end.
    if first <= last && last < 16384 { Ok((first, last)) } else { Err(wrong()) }
}

/// The cores of these pCPUs; the error names a core of which only some threads are meant.
pub(crate) fn cores(cpus: &BTreeSet<u32>, pcpus: &[Pcpu]) -> Result<Cores, String> {
    let core = |pcpu: &Pcpu| Core { socket: pcpu.socket, core: pcpu.core };
    let meant: Cores = pcpus.iter().filter(|pcpu| cpus.contains(&pcpu.id)).map(core).collect();
    let is_left_out = |pcpu: &&Pcpu| pcpu.online && meant.contains(&core(pcpu)) && !cpus.contains(&pcpu.id);
    match pcpus.iter().find(is_left_out) {
        Some(pcpu) => Err(format!("pins name whole cores, and pCPU {} of core {} is left out", pcpu.id, core(pcpu))),
        None => Ok(meant),
    }
}

#[cfg(test)]
mod tests {
    use super::{cores, parse};
    use protocol::Pcpu;

    /// Two nodes (sockets) of two cores with two threads.
    fn pcpus() -> Vec<Pcpu> {
        (0..8).map(|id| Pcpu { id, socket: id / 4, core: id % 4 / 2, node: id / 4, online: true }).collect()
    }

    fn check(text: &str) -> String {
        match parse(text, &pcpus()).and_then(|cpus| cores(&cpus, &pcpus())) {
            Ok(cores) => cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(why) => why,
        }
    }

    #[test]
    fn ranges_exclusions_and_nodes() {
        insta::assert_snapshot!(check("2-3"), @"0.1");
        insta::assert_snapshot!(check("0-5,^2-3"), @"0.0 1.0");
        insta::assert_snapshot!(check("all,^node:0"), @"1.0 1.1");
        insta::assert_snapshot!(check("nodes:0-1,^0,^1"), @"0.1 1.0 1.1");
        insta::assert_snapshot!(check("all"), @"0.0 0.1 1.0 1.1");
        insta::assert_snapshot!(check("2"), @"pins name whole cores, and pCPU 3 of core 0.1 is left out");
        insta::assert_snapshot!(check("^1"), @"it leaves no pCPU");
        insta::assert_snapshot!(check("8"), @"the host has no pCPU 8");
        insta::assert_snapshot!(check("3-2"), @"`3-2` is no range of pCPUs");
        insta::assert_snapshot!(check("0-4294967295"), @"`0-4294967295` is no range of pCPUs");
    }
}

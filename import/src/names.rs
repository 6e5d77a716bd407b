//! Names and paths in the form that manifests want, and networks by their bridges.

use schema::check;
use schema::desired::Network;
use schema::units::Name;
use std::collections::BTreeSet;

/// A DNS label made of any text: lower case, other characters as `-`. `None` when nothing is left of it.
pub(crate) fn name(text: &str) -> Option<Name> {
    let lower = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let lower: String = lower.collect();
    let start = lower.find(|c: char| c.is_ascii_lowercase())?;
    let label: String = lower[start..].chars().take(63).collect();
    label.trim_end_matches('-').parse().ok()
}

/// A path with one spelling: without `//` and a last `/`, which mean nothing. `.` and `..` stay: a link may give them a meaning.
pub(crate) fn path(text: &str) -> String {
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty()).collect();
    let root = if text.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// Why a text is no disk of a PV or PVH guest.
pub(crate) fn pv_disk_target(text: &str) -> Result<(), String> {
    if text.starts_with("hd") || text.starts_with("sd") {
        return Err(format!("`{text}` names an emulated disk, and a PV or PVH guest has `xvda` and so on"));
    }
    check::disk_target(text)
}

/// The networks of a configuration, and those that an import adds to them.
#[derive(Debug)]
pub(crate) struct Networks {
    known: Vec<Network>,
    added: Vec<Network>,
}

impl Networks {
    pub(crate) fn new(known: &[Network]) -> Self {
        Self { known: known.to_vec(), added: Vec::new() }
    }

    /// The network of a bridge; added when none has it.
    pub(crate) fn of_bridge(&mut self, bridge: &str) -> Name {
        if let Some(network) = self.known.iter().chain(&self.added).find(|network| network.bridge == bridge) {
            return network.name.clone();
        }
        let taken: BTreeSet<&Name> = self.known.iter().chain(&self.added).map(|network| &network.name).collect();
        let base: String = name(bridge).map_or_else(|| "network".to_owned(), |name| name.to_string());
        let candidates = std::iter::once(base.clone()).chain((2..).map(|number| format!("{base}-{number}")));
        let free = candidates.filter_map(|name| name.parse().ok()).find(|name| !taken.contains(name));
        let name: Name = free.expect("of infinitely many names one is free");
        self.added.push(Network { name: name.clone(), bridge: bridge.to_owned() });
        name
    }

    pub(crate) fn added(self) -> Vec<Network> {
        self.added
    }
}

#[cfg(test)]
mod tests {
    use super::{Networks, name, path};

    #[test]
    fn names_become_labels() {
        let check = |text: &str| name(text).map_or_else(|| "-".to_owned(), |name| name.to_string());
        for (text, label) in [
            ("example.pvlinux", "example-pvlinux"),
            ("Web_01", "web-01"),
            ("01web", "web"),
            ("a-", "a"),
            ("été", "t"),
            ("...", "-"),
            ("", "-"),
            ("no", "-"),
        ] {
            assert_eq!(check(text), label, "of {text}");
        }
    }

    #[test]
    fn paths_have_one_spelling() {
        assert_eq!(path("/srv//x/"), "/srv/x");
        assert_eq!(path("vg/x"), "vg/x");
        assert_eq!(path("/"), "/");
    }

    #[test]
    fn each_bridge_has_one_network() {
        let mut networks = Networks::new(&[]);
        let names: Vec<_> = ["br.0", "br-0", "br.0", "0"].map(|bridge| networks.of_bridge(bridge).to_string()).into();
        assert_eq!(names, ["br-0", "br-0-2", "br-0", "network"]);
    }
}

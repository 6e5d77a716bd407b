//! Who this worker is, and whether it fits the Xen that runs. Asks the kernel, not libxl: a libxl of the wrong release must not be called at all.

use protocol::{Failure, FailureKind, Hello, PROTOCOL};
use std::fs;

/// Where dom0's kernel shows its hypervisor (Documentation/ABI/stable/sysfs-hypervisor-xen).
const HYPERVISOR: &str = "/sys/hypervisor";

/// The first line of every worker.
pub(crate) fn hello() -> Hello {
    Hello {
        protocol: PROTOCOL,
        worker: env!("CARGO_PKG_VERSION").to_owned(),
        built_for: libxl_sys::XEN_MINOR.to_owned(),
        running: running(),
    }
}

/// Refuses to touch a Xen of another minor release: libxl's structs and Xen's control interface differ in each.
pub(crate) fn check(hello: &Hello) -> Result<(), Failure> {
    let message = match &hello.running {
        Some(running) if *running == hello.built_for => return Ok(()),
        Some(running) => format!(
            "this pinfold-xen was built for Xen {}, and Xen {running} runs: install the pinfold-xen for Xen {running}",
            hello.built_for
        ),
        None => format!(
            "no Xen runs here, or {HYPERVISOR} is not there to say so: boot the host with Xen {} and run pinfold-xen in its dom0",
            hello.built_for
        ),
    };
    Err(Failure::new(FailureKind::Refused, "hello", message))
}

/// The running Xen's minor release, such as `4.17`.
fn running() -> Option<String> {
    let read = |name: &str| fs::read_to_string(format!("{HYPERVISOR}/{name}")).ok().map(|text| text.trim().to_owned());
    (read("type")? == "xen").then_some(())?;
    Some(format!("{}.{}", read("version/major")?, read("version/minor")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_release_is_refused() {
        let check = |running: Option<&str>| {
            let hello = Hello {
                protocol: PROTOCOL,
                worker: "0".to_owned(),
                built_for: "4.17".to_owned(),
                running: running.map(str::to_owned),
            };
            check(&hello).map_err(|failure| failure.to_string())
        };
        assert_eq!(check(Some("4.17")), Ok(()));
        insta::assert_snapshot!(check(Some("4.20")).unwrap_err(), @"hello: this pinfold-xen was built for Xen 4.17, and Xen 4.20 runs: install the pinfold-xen for Xen 4.20");
        insta::assert_snapshot!(check(None).unwrap_err(), @"hello: no Xen runs here, or /sys/hypervisor is not there to say so: boot the host with Xen 4.17 and run pinfold-xen in its dom0");
    }
}

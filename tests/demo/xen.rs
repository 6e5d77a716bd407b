//! The stage of real Xen: a lab, with pinfold in its dom0.

use crate::stage::{Deed, Stage, View};
use crate::story::say;
use anyhow::Result;
use lab::{Lab, Topology};
use rig::{Change, Rig, Status};

/// pinfold on a lab's dom0.
pub(crate) struct OnXen {
    rig: Rig,
}

impl OnXen {
    /// Builds pinfold and boots the lab.
    pub(crate) fn prepare() -> Result<Self> {
        say("building pinfold and pinfold-xen");
        let programs = rig::programs()?;
        say("booting real Xen in QEMU, ten cores, without KVM");
        let lab = Lab::builder().name("demo").topology(Topology::TenCores).parallel();
        Ok(Self { rig: Rig::boot(lab, &programs)? })
    }
}

impl Stage for OnXen {
    fn describe(&self) -> String {
        "real Xen 4.17 in QEMU; dom0, libxl and the guests are real, only the machine is emulated".to_owned()
    }

    fn clone_path(&self) -> String {
        "/root/config".to_owned()
    }

    fn pinfold(&self, arguments: &[&str]) -> Result<String> {
        let output = self.rig.pinfold(&arguments.join(" "))?;
        Ok(format!("{}{}", output.stdout, output.stderr))
    }

    fn start_daemon(&mut self) -> Result<()> {
        self.rig.start_daemon()
    }

    fn edit(&self, changes: &[Change<'_>]) -> Result<()> {
        self.rig.edit(changes)
    }

    fn push(&self, message: &str) -> Result<String> {
        self.rig.commit(message, &[])
    }

    fn look(&self, view: View) -> Result<(String, String)> {
        let command = match view {
            View::Domains => "xl list -c",
            View::Cpupools => "xl cpupool-list -c",
            View::Vcpus => "xl vcpu-list",
            View::Trash => "ls /var/lib/pinfold/storage/trash",
        };
        Ok((command.to_owned(), self.rig.lab.run(command)?))
    }

    fn meddle(&self, deed: Deed) -> Result<()> {
        match deed {
            Deed::WidenPin(vm) => drop(self.rig.lab.run(&format!("xl vcpu-pin {vm} 0 all"))?),
            Deed::RebootInside(vm) => self.rig.lab.type_in_guest(vm, "reboot")?,
        }
        Ok(())
    }

    fn wait(&self, what: &str, holds: &mut dyn FnMut(&Status) -> bool) -> Result<()> {
        self.rig.until(what, |rig| Ok(holds(&rig.status()?)))
    }
}

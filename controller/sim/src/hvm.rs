//! What only HVM domains have: a device model with drives and a power button, and guests that may know nothing of Xen.
//!
//! A guest that ignores [`GuestRequest::Shutdown`] has no PV drivers: libxl finds that out before it asks, and answers at once. One that
//! ignores [`GuestRequest::PowerOff`] does not react to its power button either, as firmware that found nothing to boot.

use crate::description::{File, GuestRequest};
use crate::world::{Domain, World, errno, rc, refused};
use protocol::{DomainConfig, DomainHvm, DomainKind, Failure, FailureKind, Firmware, HvmParts};

const INSERT: &str = "libxl_cdrom_insert";

impl World {
    /// What libxl refuses of an HVM domain, before it makes it or while it starts QEMU.
    pub(crate) fn check_hvm(&self, call: &str, config: &DomainConfig) -> Result<(), Failure> {
        let Some(hvm) = &config.hvm else { return Ok(()) };
        let HvmParts { device_model, bios, uefi, .. } = self.host.hvm_parts;
        if !device_model {
            let message = "device model /usr/libexec/xen-qemu-system-i386 is not executable: No such file or directory";
            return Err(refused(call, rc::FAIL, Some(errno::ENOENT), message));
        }
        let has_firmware = match hvm.firmware {
            Firmware::Bios => bios,
            Firmware::Uefi => uefi,
        };
        if !has_firmware {
            return Err(refused(call, rc::FAIL, Some(errno::ENOENT), "failed to read the firmware file"));
        }
        hvm.cdroms.iter().try_for_each(|drive| self.check_medium(call, drive.medium.as_deref()))
    }

    fn check_medium(&self, call: &str, medium: Option<&str>) -> Result<(), Failure> {
        match medium.map(|path| (path, self.host.files.get(path))) {
            Some((path, None | Some(File::Directory))) => {
                let message = format!("Could not open '{path}': No such file or directory");
                Err(refused(call, rc::FAIL, Some(errno::ENOENT), message))
            }
            _ => Ok(()),
        }
    }

    /// What an observation shows of an HVM domain.
    pub(crate) fn read_hvm(&self, domain: &Domain) -> Option<DomainHvm> {
        let hvm = domain.hvm.clone().filter(|_| !domain.is_dying())?;
        Some(DomainHvm { pv_drivers: self.has_pv_drivers(domain), ..hvm })
    }

    /// Whether an HVM guest has told Xen how to call its drivers (`HVM_PARAM_CALLBACK_IRQ`).
    pub(crate) fn has_pv_drivers(&self, domain: &Domain) -> bool {
        let guest = self.host.guest(&domain.guest.name);
        domain.guest.booted && !guest.ignores.contains(&GuestRequest::Shutdown)
    }

    /// An HVM guest without drivers that could be asked.
    pub(crate) fn is_deaf(&self, domain: &Domain) -> bool {
        domain.kind() == Some(DomainKind::Hvm) && !self.has_pv_drivers(domain)
    }

    /// libxl's answer about a deaf guest, at once (`libxl__domain_pvcontrol`).
    pub(crate) fn no_paravirt(call: &str, domid: u32) -> Failure {
        let message =
            format!("Domain {domid}: PV control interface not available: external graceful shutdown not possible");
        Failure { kind: FailureKind::GuestIgnored, ..refused(call, rc::NOPARAVIRT, None, message) }
    }

    /// Presses the power button. A guest that runs and does not care is none of Xen's affair.
    pub(crate) fn domain_power_button(&mut self, domid: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_send_trigger";
        let now_ms = self.now_ms;
        let guest = self.host.guest(&self.domain(CALL, domid)?.guest.name);
        let domain = self.domain_mut(CALL, domid)?;
        if domain.kind() != Some(DomainKind::Hvm) {
            let message = format!("Domain {domid}: Send trigger 'power' failed");
            return Err(refused(CALL, rc::FAIL, Some(errno::EINVAL), message));
        }
        if domain.is_runnable() && domain.guest.booted && !guest.ignores.contains(&GuestRequest::PowerOff) {
            domain.guest.off_at_ms.get_or_insert(now_ms.saturating_add(guest.shutdown_ms));
        }
        Ok(())
    }

    /// QEMU dies. Xen knows nothing of it: the domain stays as it is.
    pub(crate) fn lose_device_model(&mut self, domid: u32) -> Result<(), Failure> {
        match &mut self.domain_mut("kill", domid)?.hvm {
            Some(hvm) => hvm.device_model_gone = true,
            None => return Err(refused("kill", rc::FAIL, Some(errno::ESRCH), "no such process")),
        }
        Ok(())
    }

    /// What needs QEMU's answer fails without one.
    pub(crate) fn ask_device_model(&self, call: &str, domid: u32) -> Result<(), Failure> {
        match &self.domain(call, domid)?.hvm {
            Some(hvm) if hvm.device_model_gone => {
                let message = format!("Domain {domid}: Failed to connect to the device model: Connection refused");
                Err(refused(call, rc::FAIL, Some(errno::ECONNREFUSED), message))
            }
            _ => Ok(()),
        }
    }

    /// Takes out what is in a drive: the first half of an insertion, too.
    pub(crate) fn eject(&mut self, domid: u32, target: &str) -> Result<(), Failure> {
        let domain = self.domain(INSERT, domid)?;
        if domain.kind() != Some(DomainKind::Hvm) {
            let message = format!("Domain {domid}: cdrom-insert requires an HVM domain");
            return Err(refused(INSERT, rc::INVAL, None, message));
        }
        self.ask_device_model(INSERT, domid)?;
        let domain = self.domain_mut(INSERT, domid)?;
        let drives = domain.hvm.iter_mut().flat_map(|hvm| &mut hvm.cdroms);
        match drives.into_iter().find(|drive| drive.target == target) {
            Some(drive) => {
                drive.medium = None;
                Ok(())
            }
            None => Err(refused(INSERT, rc::FAIL, None, format!("Domain {domid}: Virtual device not found"))),
        }
    }

    /// Puts a medium into an empty drive.
    pub(crate) fn insert(&mut self, domid: u32, target: &str, medium: Option<&str>) -> Result<(), Failure> {
        self.check_medium(INSERT, medium)?;
        let drives = self.domain_mut(INSERT, domid)?.hvm.iter_mut().flat_map(|hvm| &mut hvm.cdroms);
        drives.filter(|drive| drive.target == target).for_each(|drive| drive.medium = medium.map(str::to_owned));
        Ok(())
    }
}

impl Domain {
    /// How it is virtualised, while xenstore says so.
    pub(crate) fn kind(&self) -> Option<DomainKind> {
        self.store.as_ref().map(|store| store.kind)
    }
}

/// What an HVM domain begins with.
pub(crate) fn start(config: &DomainConfig) -> Option<DomainHvm> {
    let hvm = config.hvm.as_ref()?;
    let vnc = hvm.vnc.then(|| protocol::vnc_socket(config.mark.uuid));
    Some(DomainHvm { cdroms: hvm.cdroms.clone(), vnc, ..DomainHvm::default() })
}

//! Calls that are many steps to Xen: a worker may die, and others may act, at each [`Point`] of them.

use crate::build::{BUILD, CONSOLE_MS, TEAR_DOWN};
use crate::calls::Calls;
use crate::domain::GUEST_ACK_MS;
use crate::fault::{CallName, Point};
use crate::world::World;
use protocol::{Cdrom, DomainConfig, Failure, ImageRef, Mark};

impl Calls<'_> {
    pub(crate) fn build(
        &mut self,
        config: &DomainConfig,
        poolid: u32,
        image: Option<ImageRef>,
    ) -> Result<u32, Failure> {
        self.world.check_config(config)?;
        let domid = self.world.xc_domain_create(config, poolid, image.is_some())?;
        self.pass(Some(Point::DomainCreated))?;
        for (step, point) in BUILD {
            if let Err(failure) = step(self.world, domid, config) {
                if point == Point::ConsoleReady {
                    self.elapsed_ms += CONSOLE_MS;
                }
                // libxl destroys what it has half-made (domcreate_complete, libxl_create.c:1990-2038).
                self.tear_down(domid)?;
                return Err(failure);
            }
            self.pass(Some(point))?;
            if let Some(image) = image.filter(|_| point == Point::DomainBuilt) {
                if let Err(failure) = self.world.restore_memory(domid, image) {
                    self.tear_down(domid)?;
                    return Err(failure);
                }
                self.pass(Some(Point::MemoryRestored))?;
            }
        }
        Ok(domid)
    }

    /// A device that is attached: its nodes, then its script.
    pub(crate) fn plug(
        &mut self,
        name: CallName,
        enter: impl FnOnce(&mut World) -> Result<(), Failure>,
        connect: impl FnOnce(&mut World) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.begin(name)?;
        self.elapsed_ms += self.world.host.latency.call_ms;
        let entered = enter(self.world);
        if entered.is_err() {
            return self.end(entered);
        }
        self.pass(Some(Point::DeviceEntered))?;
        let connected = connect(self.world);
        self.end(connected)
    }

    pub(crate) fn write_image(&mut self, domid: u32, mark: Mark, image: ImageRef) -> Result<(), Failure> {
        self.world.begin_image(mark, image);
        self.pass(Some(Point::ImageBegun))?;
        let answered = self.world.suspend_guest(domid);
        self.elapsed_ms += *answered.as_ref().unwrap_or(&GUEST_ACK_MS);
        answered?;
        self.pass(Some(Point::GuestSuspended))?;
        self.world.fill_image(domid, image)?;
        self.pass(Some(Point::ImageWritten))?;
        self.world.finish_image(image);
        Ok(())
    }

    pub(crate) fn tear_down(&mut self, domid: u32) -> Result<(), Failure> {
        for (step, point) in TEAR_DOWN {
            step(self.world, domid)?;
            self.pass(Some(point))?;
        }
        Ok(())
    }

    /// libxl ejects before it inserts (`cdrom_insert_ejected`, libxl_disk.c).
    pub(crate) fn change_medium(&mut self, domid: u32, Cdrom { target, medium }: &Cdrom) -> Result<(), Failure> {
        self.world.eject(domid, target)?;
        self.pass(Some(Point::MediumEjected))?;
        self.world.insert(domid, target, medium.as_deref())
    }
}

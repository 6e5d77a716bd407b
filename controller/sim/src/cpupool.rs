//! cpupools as `xen/common/sched/cpupool.c` and `tools/libs/light/libxl_cpupool.c` treat them.

use crate::world::{POOL_0, Pool, World, errno, rc, refused};
use protocol::{CpuSet, Failure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A pCPU that no cpupool has any more and some vCPU could not leave: Xen lists it as free, gives it to no other cpupool, and removes no
/// other pCPU until its removal is asked for again (`cpupool_moving_cpu`, xen/common/sched/cpupool.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MovingCpu {
    pub(crate) cpu: u32,
    /// The cpupool that the last removal named: it may have the pCPU back.
    pub(crate) removed_from: u32,
    /// The cpupool whose scheduler still has it.
    pub(crate) runs_in: u32,
}

impl World {
    /// The names that `xl cpupool-list` shows: libxl takes a cpupool without a name for the end of the list (libxl_cpupool.c:88-93).
    pub fn pools_as_xl_lists_them(&self) -> Vec<String> {
        self.pools.values().map_while(|pool| pool.name.clone()).collect()
    }

    /// The number of a cpupool by name, found as `xl` finds it.
    pub(crate) fn pool_named(&self, call: &str, name: &str) -> Result<u32, Failure> {
        let mut listed = self.pools.iter().map_while(|(poolid, pool)| pool.name.as_ref().map(|name| (*poolid, name)));
        let found = listed.find(|(_, listed)| *listed == name).map(|(poolid, _)| poolid);
        found.ok_or_else(|| refused(call, rc::FAIL, None, format!("there is no cpupool {name}")))
    }

    /// The hypercall: an empty cpupool, without a name.
    pub(crate) fn pool_create(&mut self, ours: bool) -> u32 {
        // Xen takes the number after the highest one (cpupool_create).
        let poolid = self.pools.keys().next_back().map_or(POOL_0, |last| last + 1);
        let scheduler = self.host.scheduler.clone();
        self.pools.insert(poolid, Pool { name: None, uuid: None, scheduler, cpus: CpuSet::new(), ours });
        poolid
    }

    /// The xenstore transaction that follows it (libxl_cpupool.c:155-189). libxl does not compare names.
    pub(crate) fn pool_write_name(&mut self, poolid: u32, uuid: Uuid, name: &str) -> Result<(), Failure> {
        let pool = self.pool_mut("libxl_cpupool_create", poolid)?;
        pool.uuid = Some(uuid);
        pool.name = Some(name.to_owned());
        Ok(())
    }

    pub(crate) fn pool_add_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_cpupool_cpuadd";
        self.pool_mut(CALL, poolid)?;
        if !self.free_cpus().contains(cpu) {
            return Err(refused(CALL, rc::FAIL, Some(errno::ENODEV), format!("pCPU {cpu} is offline or not free")));
        }
        match self.moving_cpu.filter(|moving| moving.cpu == cpu) {
            Some(moving) if moving.removed_from != poolid => {
                return Err(refused(
                    CALL,
                    rc::FAIL,
                    Some(errno::EADDRNOTAVAIL),
                    format!("pCPU {cpu} is being moved out of another cpupool"),
                ));
            }
            Some(_) => self.moving_cpu = None,
            None => {}
        }
        self.pool_mut(CALL, poolid)?.cpus.insert(cpu);
        Ok(())
    }

    pub(crate) fn pool_remove_cpu(&mut self, poolid: u32, cpu: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_cpupool_cpuremove";
        let fail = |errno, message: String| Err(refused(CALL, rc::FAIL, Some(errno), message));
        let cpus = self.pool_mut(CALL, poolid)?.cpus.clone();
        if (poolid == POOL_0 && cpu == 0) || !self.host.topology.online().contains(cpu) {
            return fail(errno::EINVAL, format!("pCPU {cpu} cannot leave cpupool {poolid}"));
        }
        // Xen does not ask from which cpupool it was removed at first (cpupool_unassign_cpu_start).
        let retried = self.moving_cpu.filter(|moving| moving.cpu == cpu);
        if retried.is_none() && (self.moving_cpu.is_some() || !cpus.contains(cpu)) {
            return fail(
                errno::EADDRNOTAVAIL,
                format!("pCPU {cpu} is not in cpupool {poolid}, or another removal is not finished"),
            );
        }
        if retried.is_none() && cpus.len() == 1 {
            if self.domains.values().any(|domain| domain.poolid == poolid && !domain.is_dying()) {
                return fail(errno::EBUSY, format!("pCPU {cpu} is the last one of a cpupool with domains"));
            }
            // Zombies go to Pool-0 (cpupool_unassign_cpu_start).
            for domain in self.domains.values_mut().filter(|domain| domain.poolid == poolid) {
                domain.poolid = POOL_0;
            }
        }
        self.pool_mut(CALL, poolid)?.cpus.remove(cpu);
        let runs_in = retried.map_or(poolid, |moving| moving.runs_in);
        if self.stuck_removals > 0 {
            self.stuck_removals -= 1;
            self.moving_cpu = Some(MovingCpu { cpu, removed_from: poolid, runs_in });
            return fail(errno::EADDRINUSE, format!("pCPU {cpu} could not be removed now"));
        }
        self.moving_cpu = None;
        self.break_affinities(runs_in, cpu);
        Ok(())
    }

    pub(crate) fn pool_rename(&mut self, poolid: u32, name: &str) -> Result<(), Failure> {
        self.pool_mut("libxl_cpupool_rename", poolid)?.name = Some(name.to_owned());
        Ok(())
    }

    pub(crate) fn pool_destroy(&mut self, poolid: u32) -> Result<(), Failure> {
        const CALL: &str = "libxl_cpupool_destroy";
        self.pool_mut(CALL, poolid)?;
        if poolid == POOL_0 {
            return Err(refused(CALL, rc::FAIL, Some(errno::EINVAL), "Pool-0 cannot be destroyed"));
        }
        if self.domains.values().any(|domain| domain.poolid == poolid) {
            return Err(refused(CALL, rc::INVAL, None, format!("cpupool {poolid} has domains")));
        }
        self.pools.remove(&poolid);
        Ok(())
    }

    /// A cpupool of another tool, as `xl cpupool-create` makes it; its pCPUs are taken out of Pool-0 when they are there.
    pub(crate) fn make_foreign_pool(&mut self, name: &str, cpus: &CpuSet) -> Result<u32, Failure> {
        const CALL: &str = "libxl_cpupool_create";
        if self.pool_named(CALL, name).is_ok() {
            // This check is xl's.
            return Err(refused(CALL, rc::FAIL, None, format!("cpupool {name} exists already")));
        }
        for cpu in cpus.intersection(&self.pools[&POOL_0].cpus).iter() {
            self.pool_remove_cpu(POOL_0, cpu)?;
        }
        let poolid = self.pool_create(false);
        for cpu in cpus.iter() {
            self.pool_add_cpu(poolid, cpu)?;
        }
        self.pool_write_name(poolid, Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("foreign {name}").as_bytes()), name)?;
        Ok(poolid)
    }

    /// Lets every vCPU whose last pCPU went run on all of them (`cpu_disable_scheduler`, xen/common/sched/core.c:1224-1239). Nobody is told.
    fn break_affinities(&mut self, poolid: u32, cpu: u32) {
        let all = self.all_cpus();
        let left = self.pools.get(&poolid).map(|pool| pool.cpus.clone()).unwrap_or_default();
        for domain in self.domains.values_mut().filter(|domain| domain.poolid == poolid) {
            for vcpu in &mut domain.vcpus {
                if vcpu.hard.contains(cpu) && vcpu.hard.is_disjoint(&left) {
                    vcpu.hard = all.clone();
                }
            }
        }
    }

    fn pool_mut(&mut self, call: &str, poolid: u32) -> Result<&mut Pool, Failure> {
        self.pools
            .get_mut(&poolid)
            .ok_or_else(|| refused(call, rc::FAIL, Some(errno::ENOENT), format!("there is no cpupool {poolid}")))
    }
}

//! Time, and what guests do in it.

use crate::description::GuestRequest;
use crate::world::{Domain, World};
use protocol::{DomainKind, ShutdownReason};

/// Share of a pCPU that an idle vCPU uses: one part in so many.
const IDLE: u64 = 100;

/// What happens to a domain by itself.
enum Happening {
    Booted,
    Ended(ShutdownReason),
    Gone,
}

impl World {
    /// Lets time pass. Time never goes back: an earlier `to_ms` does nothing.
    pub fn advance(&mut self, to_ms: u64) {
        while let Some(at_ms) = self.next_event_ms().filter(|at_ms| *at_ms <= to_ms) {
            self.flow(at_ms);
            self.happen();
        }
        self.flow(to_ms);
    }

    /// When something happens by itself next.
    pub fn next_event_ms(&self) -> Option<u64> {
        let dirty = self.dirty.iter().map(|(until_ms, _)| *until_ms);
        let domains = self.domains().filter_map(|(_, domain)| self.due(domain)).map(|(at_ms, _)| at_ms);
        dirty.chain(domains).min().map(|at_ms| at_ms.max(self.now_ms))
    }

    fn happen(&mut self) {
        let now_ms = self.now_ms;
        self.dirty.retain(|(until_ms, _)| *until_ms > now_ms);
        let due = self.domains().filter_map(|(domid, domain)| Some((self.due(domain)?, domid)));
        let now: Vec<(u32, Happening)> =
            due.filter(|((at_ms, _), _)| *at_ms <= now_ms).map(|((_, what), domid)| (domid, what)).collect();
        for (domid, what) in now {
            match what {
                Happening::Gone => self.release(domid),
                Happening::Booted => self.boot_guest(domid),
                Happening::Ended(reason) => self.end_guest(domid, reason),
            }
        }
    }

    /// What happens to a domain next, and when. A domain that is not scheduled does nothing: what was due happens when it runs again.
    fn due(&self, domain: &Domain) -> Option<(u64, Happening)> {
        if let Some(until_ms) = domain.dying_until_ms {
            return (until_ms != u64::MAX).then_some((until_ms, Happening::Gone));
        }
        let since_ms = domain.guest.since_ms.filter(|_| domain.is_runnable())?;
        let guest = self.host.guest(&domain.guest.name);
        let booted = (!domain.guest.booted).then_some((since_ms.saturating_add(guest.boots_ms), Happening::Booted));
        let off = domain.guest.off_at_ms.map(|at_ms| (at_ms, Happening::Ended(ShutdownReason::Poweroff)));
        let own = usize::try_from(domain.guest.start).ok().and_then(|start| guest.ends.get(start));
        let own = own.map(|end| (since_ms.saturating_add(end.after_ms), Happening::Ended(end.how)));
        [booted, off, own].into_iter().flatten().min_by_key(|(at_ms, _)| *at_ms)
    }

    /// The guest brings its vCPUs up. One that was given less memory than it was built for, and has no balloon, touches a page that is not
    /// there (populate-on-demand) and crashes.
    fn boot_guest(&mut self, domid: u32) {
        let Some(domain) = self.domains.get(&domid) else {
            return;
        };
        let guest = self.host.guest(&domain.guest.name);
        let on_demand = domain.store.as_ref().is_some_and(|store| {
            store.kind != DomainKind::Pv
                && store.static_max_kib > store.target_kib
                && domain.current_kib < store.static_max_kib
        });
        if on_demand && guest.ignores.contains(&GuestRequest::Memory) {
            return self.end_guest(domid, ShutdownReason::Crash);
        }
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.guest.booted = true;
            follow_vcpus(domain);
            self.print_booted(domid);
        }
    }

    pub(crate) fn end_guest(&mut self, domid: u32, reason: ShutdownReason) {
        if let Some(domain) = self.domains.get_mut(&domid) {
            domain.shutdown = Some(reason);
            domain.guest.off_at_ms = None;
            self.wakes += 1;
            self.print_end(domid, reason);
        }
    }

    /// What flows: CPU time, balloons, and requests that running guests follow.
    fn flow(&mut self, to_ms: u64) {
        let from_ms = self.now_ms;
        if to_ms <= from_ms {
            return;
        }
        let domids: Vec<u32> =
            self.domains().filter(|(_, domain)| domain.is_runnable()).map(|(domid, _)| domid).collect();
        let mut unclaimed_kib = self.unclaimed_kib();
        for domid in domids {
            let Some(domain) = self.domains.get_mut(&domid) else {
                continue;
            };
            let guest = self.host.guest(&domain.guest.name);
            let online = domain.vcpus.iter().filter(|vcpu| vcpu.online).count() as u64;
            domain.cpu_time_ns += (to_ms - from_ms) * 1_000_000 / IDLE * online;
            if !domain.guest.booted {
                continue;
            }
            if !guest.ignores.contains(&GuestRequest::Vcpus) {
                follow_vcpus(domain);
            }
            if !guest.ignores.contains(&GuestRequest::Memory) {
                let moved = |ms: u64| guest.balloon_kib_per_s.saturating_mul(ms) / 1000;
                let claimable_kib = u64::try_from(unclaimed_kib).unwrap_or(0);
                let before_kib = domain.current_kib;
                follow_memory(domain, moved(to_ms) - moved(from_ms), claimable_kib);
                unclaimed_kib += i128::from(before_kib) - i128::from(domain.current_kib);
            }
        }
        self.now_ms = to_ms;
    }
}

fn follow_vcpus(domain: &mut Domain) {
    let Some(store) = &domain.store else {
        return;
    };
    for (id, vcpu) in (0..).zip(&mut domain.vcpus) {
        vcpu.online = id < store.vcpus_online;
    }
}

fn follow_memory(domain: &mut Domain, moved_kib: u64, claimable_kib: u64) {
    let Some(store) = &domain.store else {
        return;
    };
    let current = domain.current_kib;
    domain.current_kib = if store.target_kib < current {
        store.target_kib.max(current.saturating_sub(moved_kib))
    } else {
        let room = domain.max_kib.saturating_sub(current).min(claimable_kib);
        store.target_kib.min(current + moved_kib.min(room))
    };
}

//! The laws that must hold after every hypercall of ours.

use host::Machine;
use protocol::Request;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub type Watched = Arc<Mutex<Seen>>;

#[derive(Default)]
pub struct Seen {
    pub broken: Vec<String>,
    pub destroyed: BTreeMap<String, u32>,
}

pub fn watch(machine: &mut Machine) -> Watched {
    let watched = Watched::default();
    let seen = Arc::clone(&watched);
    machine.watch(Box::new(move |before, request, now| {
        let mut seen = seen.lock().unwrap();
        if let Err(broken) = sim::laws::after_call(before, request, now) {
            seen.broken.push(format!("{broken} in {request:?}"));
        }
        for (domid, was) in before.domains().filter(|(_, was)| was.is_runnable() && ran(was)) {
            let is = now.domains().find(|(other, _)| *other == domid);
            let counted = was.name().unwrap_or("?").to_owned();
            if is.is_none_or(|(_, is)| is.is_dying()) && !matches!(request, Request::DestroyDomain { .. }) {
                seen.broken.push(format!("{counted} was destroyed by {request:?}"));
            }
        }
        if let Request::DestroyDomain { target } = request
            && let Some((_, was)) = before.domains().find(|(domid, _)| *domid == target.domid)
            && was.is_runnable()
            && ran(was)
            && now.domains().all(|(domid, is)| domid != target.domid || is.is_dying())
        {
            // Called after every step of one destruction: the last one counts.
            let name = was.name().unwrap_or("?").to_owned();
            let key = format!("{name}#{}", was.guest.start);
            seen.destroyed.insert(key, 1);
        }
    }));
    watched
}

fn ran(domain: &sim::Domain) -> bool {
    domain.store.as_ref().is_some_and(|store| store.ready)
}

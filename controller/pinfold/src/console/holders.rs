//! Who has which console. One person at a time: of two readers of a terminal each gets half of what the guest prints.

use crate::report::age::ago;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The consoles that are attached now, by VM.
#[derive(Clone, Debug, Default)]
pub struct Holders(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_vm: BTreeMap<String, Holder>,
}

#[derive(Debug)]
struct Holder {
    id: u64,
    actor: String,
    since: Timestamp,
    /// Tells it who takes the console over.
    taken: oneshot::Sender<String>,
}

/// The right to a console, until dropped.
#[derive(Debug)]
pub struct Hold {
    holders: Holders,
    vm: String,
    id: u64,
    /// Answers who took it over.
    pub taken: oneshot::Receiver<String>,
}

/// Somebody has it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{actor} has been attached to this console since {since}: end that, or take it over with `--force`")]
pub struct InUse {
    actor: String,
    since: String,
}

impl Holders {
    /// Takes a console, by force also from somebody who has it.
    pub fn take(&self, vm: &str, actor: &str, force: bool, now: Timestamp) -> Result<Hold, InUse> {
        let mut held = self.lock();
        if let Some(holder) = held.by_vm.remove(vm) {
            // One whose session has ended and was not yet dropped holds nothing.
            if !force && !holder.taken.is_closed() {
                let in_use = InUse { actor: holder.actor.clone(), since: ago(holder.since, now) };
                held.by_vm.insert(vm.to_owned(), holder);
                return Err(in_use);
            }
            let _ = holder.taken.send(actor.to_owned());
        }
        let id = held.next;
        held.next += 1;
        let (sender, taken) = oneshot::channel();
        let holder = Holder { id, actor: actor.to_owned(), since: now, taken: sender };
        held.by_vm.insert(vm.to_owned(), holder);
        Ok(Hold { holders: self.clone(), vm: vm.to_owned(), id, taken })
    }

    /// A plain table: a panic elsewhere leaves it readable.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holders.lock();
        if held.by_vm.get(&self.vm).is_some_and(|holder| holder.id == self.id) {
            held.by_vm.remove(&self.vm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_force_takes_over() {
        let holders = Holders::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut first = holders.take("web", "uid 0", false, at(0)).unwrap();
        let refused = holders.take("web", "uid 1", false, at(60)).unwrap_err();
        insta::assert_snapshot!(refused, @"uid 0 has been attached to this console since 60 s ago: end that, or take it over with `--force`");
        holders.take("db", "uid 1", false, at(60)).unwrap();
        let second = holders.take("web", "uid 1", true, at(60)).unwrap();
        assert_eq!(first.taken.try_recv(), Ok("uid 1".to_owned()));
        drop(first);
        assert!(holders.take("web", "uid 2", false, at(61)).is_err(), "the first one's end frees nothing");
        drop(second);
        holders.take("web", "uid 2", false, at(62)).unwrap();
    }
}

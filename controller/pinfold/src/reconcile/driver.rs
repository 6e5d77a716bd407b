//! The driver: one pass is take events, judge, observe, plan, publish, start.

use super::conditions::Conditions;
use super::freeze;
use super::host_shutdown::forced;
use super::in_force::{InForce, chain};
use super::journal::{self, Note, Reason, intend};
use super::overrides;
use super::snapshot::{Counts, Snapshot};
use super::trash;
use super::verb::{Verb, VerbCall};
use crate::guests::note;
use crate::source::{self, CommitId, Mirror, Permit, Settings, Watcher};
use host::{Clock, Host, Interest, StartError, Starts, Store, start_due};
use jiff::{SignedDuration, Timestamp};
use planner::drift::Seen;
use planner::record::Approval;
use planner::{Change, Condition, ConditionKind, Disposition, Item, ObjectRef, ObjectStatus, Observed, Plan, Truth};
use protocol::Reading;
use schema::units::Name;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Shorter waits than this would only heat the room: what comes due is done this late at most.
const LEAST_WAIT: Duration = Duration::from_millis(20);

/// So many times as long as the last pass took is rested before the next look that nothing asks for: where looking is dear, the host's own work
/// goes first.
const REST: u32 = 4;

/// But never longer than so many intervals.
const LONGEST_REST: u32 = 10;

/// What a driver works with.
pub struct Parts {
    /// The host.
    pub host: Box<dyn Host>,
    /// Its name.
    pub name: Name,
    /// The mirror.
    pub mirror: Mirror,
    /// Where it is mirrored from.
    pub settings: Settings,
    /// Fetches.
    pub watcher: Watcher,
    /// Set when the branch may have moved.
    pub moved: Arc<AtomicBool>,
    /// Set, after `moved`, when the repository was asked for the first time, with success or without.
    pub asked: Arc<AtomicBool>,
    /// Verbs.
    pub verbs: Receiver<VerbCall>,
    /// Where passes are published.
    pub published: watch::Sender<Option<Arc<Snapshot>>>,
    /// How often the host is looked at.
    pub interval: Duration,
    /// What time it is.
    pub clock: Clock,
    /// Where the note lies that the host goes down.
    pub note: PathBuf,
}

/// Owns the host and everything that is known.
pub struct Driver {
    parts: Parts,
    store: Arc<Store>,
    in_force: InForce,
    conditions: Conditions,
    started: Timestamp,
    counts: Counts,
    /// Items that could not be started in the last pass, and why.
    not_started: BTreeMap<ObjectRef, StartError>,
    is_failing: bool,
    last_pass: Duration,
}

impl Driver {
    /// Reads the accepted commit; touches nothing.
    pub fn new(parts: Parts) -> Self {
        let now = (parts.clock)().at;
        let store = Arc::clone(parts.host.store());
        let conditions = Conditions::open(&store.place().state.join("conditions.json"));
        let in_force = InForce::read(&parts.mirror, &parts.settings, now);
        let is_failing = parts.watcher.fetches().failing.is_some();
        let counts = Counts::default();
        let driver = Self {
            parts,
            store,
            in_force,
            conditions,
            started: now,
            counts,
            not_started: BTreeMap::new(),
            is_failing,
            last_pass: Duration::ZERO,
        };
        let version = env!("CARGO_PKG_VERSION");
        driver.note(
            now,
            [Note::host(Reason::DaemonStarted, format!("pinfold {version} drives host {}", driver.parts.name))],
        );
        driver
    }

    /// One pass. Answers how long nothing more is to be done, unless something wakes the loop.
    pub fn pass(&mut self) -> Duration {
        let began = Instant::now();
        let now = (self.parts.clock)().at;
        self.take_verbs(now);
        self.take_source(now);
        let observed = Arc::new(self.observe());
        let plan = Arc::new(planner::plan(self.in_force.desired(), &observed));
        self.notice_clock(&observed);
        self.note(now, forced(&observed, &plan));
        self.note(now, freeze::end(&observed, &self.store));
        self.note(now, overrides::end(&observed, &self.store));
        self.publish(&observed, &plan);
        self.start(&plan, observed.now);
        self.last_pass = began.elapsed();
        self.counts.pass_seconds.observe(self.last_pass.as_secs_f64());
        self.wait(&plan, observed.now)
    }

    /// The last pass.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.parts.published.borrow().clone()
    }

    /// Whether the branch's head is in force, as far as the repository could be asked.
    pub fn is_followed(&self) -> bool {
        self.in_force.is_followed() && self.parts.watcher.fetches().failing.is_none()
    }

    /// Whether the repository was asked at least once since the daemon started, and what it said was judged.
    pub fn has_asked(&self) -> bool {
        self.parts.asked.load(Ordering::Acquire) && !self.parts.moved.load(Ordering::Acquire)
    }

    /// SIGHUP came: what became of the configuration. The repository is asked either way.
    pub fn reconfigured(&self, became: Result<&str, &str>) {
        self.parts.watcher.hint();
        let (reason, message) = match became {
            Ok(message) => (Reason::Configured, message.to_owned()),
            Err(why) => (Reason::ConfigRefused, format!("the configuration in force stays: {why}")),
        };
        let actor = Some("SIGHUP".to_owned());
        self.note((self.parts.clock)().at, [Note { object: None, reason, message, actor }]);
    }

    /// Looks at the host. While nobody can say whether it goes down, guests are neither stopped nor started.
    fn observe(&mut self) -> Observed {
        let note = note::read(&self.parts.note);
        let host_shutdown = note.as_ref().ok().cloned().flatten();
        let mut observed = self.parts.host.observe(&Interest { host_shutdown, ..self.in_force.interest() });
        if let Err(error) = note {
            let path = self.parts.note.display();
            let message =
                format!("the note that the host goes down, `{path}`, cannot be read: {error}; remove it to go on");
            observed.xen = Reading::unknown("HostShutdownUnreadable", message);
        }
        observed
    }

    fn take_source(&mut self, now: Timestamp) {
        let failing = self.parts.watcher.fetches().failing;
        match (&failing, self.is_failing) {
            (Some(failing), false) => self.note(now, [Note::host(Reason::SourceFailing, failing.message.clone())]),
            (None, true) => {
                self.note(now, [Note::host(Reason::SourceBack, "the repository can be read again".to_owned())]);
            }
            _ => {}
        }
        self.is_failing = failing.is_some();
        if self.parts.moved.swap(false, Ordering::AcqRel) {
            let notes = self.in_force.consider(&self.parts.mirror, &self.parts.settings, &self.store, now);
            self.note(now, notes);
        }
    }

    fn take_verbs(&mut self, now: Timestamp) {
        while let Ok(VerbCall { verb, actor, reply }) = self.parts.verbs.try_recv() {
            let answer = self.obey(&verb, &actor, now).map(|(object, said)| {
                let why = reason(&verb).map(|reason| format!(": {reason}")).unwrap_or_default();
                let message = format!("{said}{why}");
                self.note(now, [Note { object, reason: Reason::Verb, message, actor: Some(actor) }]);
                said
            });
            // Whoever asked may be gone; the verb is done all the same.
            let _ = reply.send(answer);
        }
    }

    /// Does a verb. Answers what it was done to, if that is one object, and a sentence.
    fn obey(&self, verb: &Verb, actor: &str, now: Timestamp) -> Result<(Option<ObjectRef>, String), String> {
        match verb {
            Verb::Sync => {
                self.parts.watcher.hint();
                Ok((None, "asked the repository".to_owned()))
            }
            Verb::Approve { id, reason, expires } => self.approve(id, reason, *expires, actor, now),
            Verb::Freeze { .. } | Verb::Unfreeze { .. } => {
                let snapshot = self.snapshot().ok_or("the daemon has not looked at the host yet; try again")?;
                freeze::obey(verb, actor, &snapshot.observed, &snapshot.plan, &self.store, (self.parts.clock)())
            }
            Verb::Power { .. } | Verb::Follow { .. } => {
                let snapshot = self.snapshot().ok_or("the daemon has not looked at the host yet; try again")?;
                overrides::obey(verb, actor, &snapshot.observed, &snapshot.plan, &self.store, (self.parts.clock)())
            }
            Verb::TrashRestore { .. } | Verb::TrashPurge { .. } => self.use_trash(verb, actor, now),
            Verb::AcceptHistory { commit, reason } => {
                let commit: CommitId = commit.parse().map_err(|error| chain(&error))?;
                let permit = Permit { commit, reason: reason.clone(), actor: actor.to_owned(), at: now };
                source::accept_history(&self.parts.mirror, &permit).map_err(|error| chain(&error))?;
                // Judged next, in this pass.
                self.parts.moved.store(true, Ordering::Release);
                Ok((None, format!("permitted {} to be put into force", permit.commit.short())))
            }
        }
    }

    fn use_trash(&self, verb: &Verb, actor: &str, now: Timestamp) -> Result<(Option<ObjectRef>, String), String> {
        let why = reason(verb).unwrap_or_default();
        if why.trim().is_empty() {
            return Err("say why with --reason: it is kept in the journal".to_owned());
        }
        let announce = |note: Note| {
            let note = Note { actor: Some(actor.to_owned()), message: format!("{}: {why}", note.message), ..note };
            intend(&self.store, now, self.in_force.commit(), note).map_err(|error| error.chain())
        };
        trash::obey(verb, &*self.parts.host, &announce)
    }

    fn approve(
        &self,
        id: &str,
        why: &str,
        expires: Duration,
        actor: &str,
        now: Timestamp,
    ) -> Result<(Option<ObjectRef>, String), String> {
        if why.trim().is_empty() {
            return Err("say why with --reason: it is kept in the journal".to_owned());
        }
        let snapshot = self.snapshot().ok_or("the daemon has not looked at the host yet; try again")?;
        let is_held = |item: &&Item| item.id == id && matches!(item.disposition, Disposition::Held { .. });
        let Some(item) = snapshot.plan.items.iter().find(is_held) else {
            return Err(format!(
                "no held item has the id {id}; `pinfold plan` shows them, and an id changes with what would be done"
            ));
        };
        let expires = SignedDuration::try_from(expires).ok().and_then(|span| now.checked_add(span).ok());
        let expires = expires.ok_or("--expires lies too far in the future")?;
        let approval = Approval { actor: actor.to_owned(), reason: why.to_owned(), at: now, expires };
        self.store.write_approval(id, &approval).map_err(|error| error.chain())?;
        let is_frozen = |status: &&ObjectStatus| {
            status.object == item.object && status.conditions.iter().any(|one| one.kind == ConditionKind::Frozen)
        };
        let frozen = snapshot
            .plan
            .objects
            .iter()
            .find(is_frozen)
            .map_or("", |_| "; it is frozen, and waits for the end of that");
        let what = planner::render::doing(item.action);
        Ok((Some(item.object.clone()), format!("approved: {what} {}{frozen}", item.object)))
    }

    /// Tells of a wall clock that was set: times in the journal and in conditions do not go on from those before.
    fn notice_clock(&self, observed: &Observed) {
        let before = self.snapshot().map(|snapshot| (snapshot.observed.now, snapshot.observed.uptime));
        let (Some((then, Some(was))), Some(is)) = (before, observed.uptime) else { return };
        if is.steady_ms >= was.steady_ms {
            return;
        }
        let ran = SignedDuration::from_millis(i64::try_from(is.ms.saturating_sub(was.ms)).unwrap_or(i64::MAX));
        let by = observed.now.duration_since(then).saturating_sub(ran);
        let message = format!(
            "the wall clock was set {} by {:#}; guests that were asked to power off keep their time, and for a day nothing is purged from the trash",
            if by.is_negative() { "back" } else { "forwards" },
            SignedDuration::from_secs(by.as_secs()).abs()
        );
        self.note(observed.now, [Note::host(Reason::ClockSet, message)]);
    }

    fn publish(&mut self, observed: &Arc<Observed>, plan: &Arc<Plan>) {
        let mut statuses = plan.objects.clone();
        for status in &mut statuses {
            if let Some(why) = self.not_started.get(&status.object) {
                let (kind, reason) =
                    (ConditionKind::Stalled, if why.unwritable { "StateUnwritable" } else { "NotStarted" });
                let (reason, message) = (reason.to_owned(), why.to_string());
                status.conditions.push(Condition { kind, status: Truth::True, reason, message });
            }
        }
        let commit = plan.commit.as_deref();
        self.counts.tally.look(observed);
        let (objects, notes) = self.conditions.update(&statuses, commit, observed.now);
        self.note(observed.now, notes);
        let snapshot = Snapshot {
            started: self.started,
            interval: self.rest() + self.last_pass,
            observed: Arc::clone(observed),
            plan: Arc::clone(plan),
            objects: Arc::new(objects),
            source: self.in_force.view(&self.parts.settings, &self.parts.watcher.fetches()),
            counts: self.counts.clone(),
        };
        self.parts.published.send_replace(Some(Arc::new(snapshot)));
    }

    fn start(&mut self, plan: &Plan, now: Timestamp) {
        let Starts { started, start_errors, sightings } = start_due(&mut *self.parts.host, plan);
        self.note(now, sightings.iter().map(drift_seen));
        self.counts.operations_started += started.len() as u64;
        self.counts.operations_refused += start_errors.len() as u64;
        let not_started: BTreeMap<ObjectRef, StartError> = start_errors.into_iter().collect();
        for (object, error) in not_started.iter().filter(|(object, why)| self.not_started.get(object) != Some(why)) {
            let (object, message) = (Some(object.clone()), error.to_string());
            self.note(now, [Note { object, reason: Reason::NotStarted, message, actor: None }]);
        }
        self.not_started = not_started;
    }

    /// What was due before the observation is in the plan already: only what comes due after it shortens the wait.
    fn wait(&self, plan: &Plan, observed_at: Timestamp) -> Duration {
        let Some(due) = plan.due.filter(|due| *due > observed_at) else { return self.rest() };
        let left = Duration::try_from(due.duration_since((self.parts.clock)().at)).unwrap_or_default();
        left.clamp(LEAST_WAIT, self.rest().max(LEAST_WAIT))
    }

    /// How long nobody looks if nothing happens.
    fn rest(&self) -> Duration {
        rest(self.parts.interval, self.last_pass)
    }

    fn note(&self, now: Timestamp, notes: impl IntoIterator<Item = Note>) {
        journal::note(&self.store, now, self.in_force.commit(), notes);
    }
}

fn rest(interval: Duration, last_pass: Duration) -> Duration {
    last_pass.saturating_mul(REST).clamp(interval, interval.saturating_mul(LONGEST_REST))
}

/// What other hands changed, as a line of the journal.
fn drift_seen((object, field, seen): &(ObjectRef, String, Seen)) -> Note {
    let change = Change { field: field.clone(), old: seen.wanted.clone(), new: seen.found.clone() };
    let message = format!("{} {}", planner::render::changes_inline(&[change]), seen.sighting.text());
    Note { object: Some(object.clone()), reason: Reason::DriftSeen, message, actor: None }
}

fn reason(verb: &Verb) -> Option<&str> {
    match verb {
        Verb::Sync | Verb::Unfreeze { .. } | Verb::Follow { .. } => None,
        Verb::Approve { reason, .. }
        | Verb::Freeze { reason, .. }
        | Verb::Power { reason, .. }
        | Verb::AcceptHistory { reason, .. }
        | Verb::TrashRestore { reason, .. }
        | Verb::TrashPurge { reason, .. } => Some(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_dear_is_taken_less_often() {
        let rested = |ms| rest(Duration::from_secs(1), Duration::from_millis(ms)).as_millis();
        assert_eq!([0, 30, 250, 500, 9000].map(rested), [1000, 1000, 1000, 2000, 10_000]);
    }
}

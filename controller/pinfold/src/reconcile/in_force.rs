//! The commit in force, and taking the next one over: judge, pin the Pool, write the grants, move the ref. In this order, each step durable
//! before the next, so that a death anywhere leaves the old commit in force or the new one, with its grants.

use super::journal::{Note, Reason};
use crate::api::view::{FindingView, Refused, SourceView, Trouble};
use crate::report::short;
use crate::source::{
    self, Accept, Accepted, CommitId, Considered, Fetches, Mirror, Refusal, RefusalReason, Settings, desired_at,
};
use host::{Interest, Store};
use jiff::Timestamp;
use planner::observed::AcceptedCommit;
use protocol::Reading;
use schema::desired::Desired;
use schema::units::Name;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The commit in force and what it wants.
#[derive(Debug, Default)]
pub struct InForce {
    commit: Option<AcceptedCommit>,
    desired: Option<Desired>,
    /// The accepted commit cannot be read: only what is recorded is kept running.
    unreadable: Option<Trouble>,
    /// The branch's head is not followed.
    refused: Option<Refused>,
    /// The branch's head could not be taken over, for a reason of this host.
    blocked: Option<Trouble>,
}

impl InForce {
    /// Reads the commit that was accepted last. Needs no network.
    pub fn read(mirror: &Mirror, settings: &Settings, now: Timestamp) -> Self {
        let mut in_force = Self::default();
        match mirror.accepted() {
            Ok(Accepted::Never) => {}
            Ok(Accepted::At(id)) => in_force.read_at(mirror, settings, &id, now),
            Ok(Accepted::Lost(id)) => {
                in_force.commit = Some(AcceptedCommit {
                    id: id.to_string(),
                    subject: "(lost with the mirror)".to_owned(),
                    author: String::new(),
                    at: now,
                });
                let message = format!(
                    "the accepted commit {} is not in the mirror any more; guests are kept as recorded, and it is read again as soon as the repository has it",
                    id.short()
                );
                in_force.unreadable = Some(trouble("CommitLost", message, now));
            }
            Err(error) => in_force.unreadable = Some(trouble("MirrorUnreadable", chain(&error), now)),
        }
        in_force
    }

    fn read_at(&mut self, mirror: &Mirror, settings: &Settings, id: &CommitId, now: Timestamp) {
        let at = accepted_at(mirror, id).unwrap_or(now);
        let facts = mirror.facts(id);
        let (subject, author) = facts.map(|facts| (facts.subject, facts.author)).unwrap_or_default();
        self.commit = Some(AcceptedCommit { id: id.to_string(), subject, author, at });
        match desired_at(mirror, id, &settings.path) {
            Ok(reading) => {
                if reading.desired.is_none() {
                    let first = reading.findings.first().map(|finding| format!(": {}", finding.message));
                    let message = format!(
                        "this version of pinfold finds errors in the accepted commit {}{}; guests are kept as recorded, and nothing else changes until a commit without errors is there",
                        id.short(),
                        first.unwrap_or_default()
                    );
                    self.unreadable = Some(trouble("CommitUnreadable", message, now));
                }
                self.desired = reading.desired;
            }
            Err(error) => self.unreadable = Some(trouble("MirrorUnreadable", chain(&error), now)),
        }
    }

    /// The commit.
    pub fn commit(&self) -> Option<&AcceptedCommit> {
        self.commit.as_ref()
    }

    /// What it wants; `None` when it cannot be read.
    pub fn desired(&self) -> Option<&Desired> {
        self.desired.as_ref()
    }

    /// Whether the branch's head is in force, and can be read.
    pub fn is_followed(&self) -> bool {
        self.commit.is_some() && self.unreadable.is_none() && self.refused.is_none() && self.blocked.is_none()
    }

    /// What an observation has to look at for it.
    pub fn interest(&self) -> Interest {
        Interest::of(self.desired(), self.commit.clone())
    }

    /// Judges the branch's head and takes it over if it may be. Answers what is worth noting.
    pub fn consider(&mut self, mirror: &Mirror, settings: &Settings, store: &Store, now: Timestamp) -> Vec<Note> {
        let recorded = recorded(store);
        let uuid_of = |name: &Name| recorded.get(name).copied();
        match source::consider(mirror, &settings.path, &uuid_of, now) {
            Ok(Considered::Missing) => Vec::new(),
            Ok(Considered::Unchanged) => {
                // A commit that was lost, or could not be read, may be there again.
                let was_unreadable = self.unreadable.is_some();
                if was_unreadable {
                    *self = Self::read(mirror, settings, now);
                }
                (self.refused, self.blocked) = (None, None);
                self.unreadable.iter().filter(|_| !was_unreadable).map(unreadable_note).collect()
            }
            Ok(Considered::Refused { refusal, new }) => {
                self.blocked = None;
                self.refused = Some(refused(&refusal));
                if new { vec![refused_note(&refusal)] } else { Vec::new() }
            }
            Ok(Considered::Accept(accept)) => self.accept(mirror, store, *accept, now),
            Err(error) => self.block("MirrorUnreadable", chain(&error), now),
        }
    }

    fn accept(&mut self, mirror: &Mirror, store: &Store, accept: Accept, now: Timestamp) -> Vec<Note> {
        if let Err(error) = store.pin_pool(accept.desired.pool.id) {
            return self.block("IdentityMismatch", error.chain(), now);
        }
        let before = match store.records() {
            Reading::Known(records) => records.grants,
            Reading::Unknown(cause) => return self.block(&cause.reason, cause.message, now),
        };
        let grants = source::prepare(&accept, before.as_ref().and_then(Reading::known), now);
        if let Err(error) = store.write_grants(&grants) {
            return self.block("GrantsUnwritable", error.chain(), now);
        }
        if let Err(error) = source::commit(mirror, &accept, now) {
            return self.block("MirrorUnwritable", chain(&error), now);
        }
        let over = if accept.is_over_budget() {
            format!(
                "; it removes {} objects and may remove {}, so each waits for an approval",
                accept.removed.len(),
                accept.budget
            )
        } else {
            String::new()
        };
        let Accept { commit, desired, .. } = accept;
        let message = format!("{} {} by {}{over}", commit.id.short(), commit.subject, commit.author);
        let (id, subject, author) = (commit.id.to_string(), commit.subject, commit.author);
        *self = Self {
            commit: Some(AcceptedCommit { id, subject, author, at: now }),
            desired: Some(desired),
            ..Self::default()
        };
        vec![Note::host(Reason::CommitAccepted, message)]
    }

    /// The head stays where it is, for a reason that only this host has.
    fn block(&mut self, reason: &str, message: String, now: Timestamp) -> Vec<Note> {
        let is_known = self.blocked.as_ref().is_some_and(|known| known.reason == reason && known.message == message);
        if is_known {
            return Vec::new();
        }
        let note = Note::host(Reason::CommitRefused, format!("{reason}: {message}"));
        self.blocked = Some(trouble(reason, message, now));
        vec![note]
    }

    /// How the commit stands with its repository.
    pub fn view(&self, settings: &Settings, fetches: &Fetches) -> SourceView {
        let failing = fetches.failing.as_ref().map(|failing| Trouble {
            reason: format!("{:?}", failing.kind),
            message: failing.message.clone(),
            since: failing.since,
        });
        SourceView {
            url: settings.url.to_string(),
            branch: settings.branch.clone(),
            fetched: fetches.last_success,
            failing,
            refused: self.refused.clone(),
            blocked: self.blocked.clone(),
            unreadable: self.unreadable.clone(),
        }
    }
}

/// When this host accepted a commit.
fn accepted_at(mirror: &Mirror, id: &CommitId) -> Option<Timestamp> {
    mirror.accepted_log().ok()?.into_iter().rev().find(|line| line.new == *id).map(|line| line.at)
}

/// The identities of VMs that have a record here, by the names in them.
fn recorded(store: &Store) -> BTreeMap<Name, Uuid> {
    let records = store.records();
    let vms = records.known().into_iter().flat_map(|records| records.vms.values()).filter_map(Reading::known);
    vms.map(|record| (record.name.clone(), record.uuid)).collect()
}

fn refused(refusal: &Refusal) -> Refused {
    let (reason, findings) = match &refusal.reason {
        RefusalReason::Findings { findings } => {
            let view = |finding: &source::RefusedFinding| FindingView {
                code: finding.code.clone(),
                message: finding.message.clone(),
                place: finding.place.clone(),
                help: finding.help.clone(),
            };
            ("Findings", findings.iter().filter(|finding| finding.error).map(view).collect())
        }
        RefusalReason::NotDescendant { .. } => ("HistoryRewritten", vec![whole(refusal)]),
        RefusalReason::AcceptedLost { .. } => ("AcceptedLost", vec![whole(refusal)]),
    };
    Refused {
        commit: refusal.commit.id.to_string(),
        subject: refusal.commit.subject.clone(),
        author: refusal.commit.author.clone(),
        since: refusal.since,
        reason: reason.to_owned(),
        findings,
    }
}

/// A finding about the commit as a whole.
fn whole(refusal: &Refusal) -> FindingView {
    FindingView { code: "history".to_owned(), message: refusal.reason.to_string(), place: None, help: Vec::new() }
}

fn refused_note(refusal: &Refusal) -> Note {
    let id = refusal.commit.id.to_string();
    Note::host(Reason::CommitRefused, format!("{} {}: {}", short(&id), refusal.commit.subject, refusal.reason))
}

fn unreadable_note(trouble: &Trouble) -> Note {
    Note::host(Reason::CommitUnreadable, trouble.message.clone())
}

fn trouble(reason: &str, message: String, since: Timestamp) -> Trouble {
    Trouble { reason: reason.to_owned(), message, since }
}

/// An error and everything behind it, in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! What was decided about heads of the branch, on disk: the refused one, the permission for one that does not descend, acceptance.

use crate::source::git::{Accepted, AcceptedLine, CommitFacts, CommitId, Mirror, MirrorError};
use crate::source::judge::{Accept, Verdict, judge};
use crate::source::layout;
use crate::source::settings::SubPath;
use jiff::Timestamp;
use schema::finding::{Finding, Severity};
use schema::units::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A person's permission to accept one commit that does not descend from the accepted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Permit {
    /// Exactly this commit.
    pub commit: CommitId,
    /// Why.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// A head of the branch that is not put into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The commit.
    pub commit: CommitFacts,
    /// Since when this host refuses it.
    pub since: Timestamp,
    /// Why.
    pub reason: RefusalReason,
    judged: Judged,
}

/// Why a commit is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum RefusalReason {
    /// It has errors.
    Findings {
        /// All of them, and the warnings.
        findings: Vec<RefusedFinding>,
    },
    /// It does not descend from the accepted commit.
    NotDescendant {
        /// The accepted commit.
        accepted: CommitId,
        /// The last commit that they share.
        merge_base: Option<CommitId>,
    },
    /// The accepted commit is lost here and in the repository.
    AcceptedLost {
        /// The accepted commit.
        accepted: CommitId,
    },
}

/// A finding as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFinding {
    /// Its stable word.
    pub code: String,
    /// Whether it stops the commit; else it only warns.
    pub error: bool,
    /// What is wrong.
    pub message: String,
    /// `file:line:column`.
    pub place: Option<String>,
    /// What to do next.
    pub help: Vec<String>,
}

/// What a verdict depended on: while it is the same, so is the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Judged {
    accepted: Option<CommitId>,
    /// The mirror did not have it.
    lost: bool,
    path: SubPath,
    permit: Option<CommitId>,
    /// Another binary may know better.
    version: String,
}

/// What becomes of the head of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Considered {
    /// Nothing was ever fetched.
    Missing,
    /// It is in force.
    Unchanged,
    /// It is not put into force. `new`: this was not known before.
    Refused {
        /// Why, and since when.
        refusal: Box<Refusal>,
        /// For the journal: said once.
        new: bool,
    },
    /// It may be put into force: write [`crate::source::prepare`]'s grants, then [`commit`].
    Accept(Box<Accept>),
}

/// Why [`accept_history`] does nothing.
#[derive(Debug, thiserror::Error)]
pub enum PermitError {
    /// A permission without a reason is worth nothing to those who read the journal.
    #[error("say why with --reason: it is kept in the journal")]
    NoReason,
    /// Not the head of the branch.
    #[error("{} is not the head of the branch, which is {}; permit exactly what is to be put into force", given.short(), head.as_ref().map_or("not fetched yet", CommitId::as_str))]
    NotHead {
        /// What was permitted.
        given: CommitId,
        /// The head.
        head: Option<CommitId>,
    },
    /// The mirror or the file.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Judges the head of the branch, or remembers the verdict. Call it after each fetch and at start.
///
/// # Errors
/// The mirror cannot be read. If it is damaged, the next fetch makes it afresh.
pub fn consider(
    mirror: &Mirror,
    path: &SubPath,
    uuid_of: &dyn Fn(&Name) -> Option<Uuid>,
    now: Timestamp,
) -> Result<Considered, MirrorError> {
    let considered = try_consider(mirror, path, uuid_of, now);
    if let Err(error) = &considered
        && error.is_broken()
    {
        mirror.report_broken(&error.to_string())?;
    }
    considered
}

fn try_consider(
    mirror: &Mirror,
    path: &SubPath,
    uuid_of: &dyn Fn(&Name) -> Option<Uuid>,
    now: Timestamp,
) -> Result<Considered, MirrorError> {
    let permit = permit(mirror)?;
    let known = refusal(mirror)?;
    let accepted = mirror.accepted()?;
    let judged = Judged {
        accepted: accepted.commit().cloned(),
        lost: matches!(accepted, Accepted::Lost(_)),
        path: path.clone(),
        permit: permit.as_ref().map(|permit| permit.commit.clone()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let head = mirror.candidate()?;
    if let Some(refusal) = &known
        && refusal.judged == judged
        && Some(&refusal.commit.id) == head.as_ref()
    {
        return Ok(Considered::Refused { refusal: Box::new(refusal.clone()), new: false });
    }
    let (commit, reason) = match judge(mirror, path, permit.as_ref(), uuid_of)? {
        Verdict::Missing => return Ok(Considered::Missing),
        Verdict::Unchanged { .. } => {
            layout::remove(&mirror.layout.refused())?;
            return Ok(Considered::Unchanged);
        }
        Verdict::Accept(accept) => return Ok(Considered::Accept(accept)),
        Verdict::Refuse { commit, findings } => {
            (commit, RefusalReason::Findings { findings: findings.iter().map(RefusedFinding::from).collect() })
        }
        Verdict::NotDescendant { commit, accepted, merge_base } => {
            (commit, RefusalReason::NotDescendant { accepted, merge_base })
        }
        Verdict::AcceptedLost { commit, accepted } => {
            // The repository may still have it: once a whole clone says that it has not, this verdict is remembered.
            mirror.report_broken("the accepted commit is missing")?;
            (commit, RefusalReason::AcceptedLost { accepted })
        }
    };
    let same = known.filter(|known| known.commit.id == commit.id);
    let since = same.as_ref().map_or(now, |known| known.since);
    let new = same.is_none_or(|known| known.reason != reason);
    let refusal = Refusal { commit, since, reason, judged };
    layout::replace_json(&mirror.layout.refused(), &refusal)?;
    Ok(Considered::Refused { refusal: Box::new(refusal), new })
}

/// Puts a commit into force. Its grants must be on disk.
///
/// # Errors
/// Another commit is in force than when this one was judged, or the mirror cannot be written.
pub fn commit(mirror: &Mirror, accept: &Accept, now: Timestamp) -> Result<(), MirrorError> {
    let why = match &accept.permit {
        Some(permit) => format!("accept-history by {}: {}", permit.actor, permit.reason),
        None if accept.previous.is_none() => "the first commit".to_owned(),
        None => "descends from the one before".to_owned(),
    };
    let line = AcceptedLine { old: accept.previous.clone(), new: accept.commit.id.clone(), at: now, why };
    mirror.move_accepted(&line)?;
    // Only now: a permission is used up by what it permits, not by an attempt.
    layout::remove(&mirror.layout.permit())?;
    layout::remove(&mirror.layout.refused())?;
    Ok(())
}

/// Permits the head of the branch, although it does not descend from the accepted commit. It holds for this one commit, once.
///
/// # Errors
/// There is no reason, the commit is not the head, or the permission cannot be kept.
pub fn accept_history(mirror: &Mirror, permit: &Permit) -> Result<(), PermitError> {
    if permit.reason.trim().is_empty() {
        return Err(PermitError::NoReason);
    }
    let head = mirror.candidate()?;
    if head.as_ref() != Some(&permit.commit) {
        return Err(PermitError::NotHead { given: permit.commit.clone(), head });
    }
    Ok(layout::replace_json(&mirror.layout.permit(), permit).map_err(MirrorError::from)?)
}

/// The refused head of the branch.
///
/// # Errors
/// The file cannot be read.
pub fn refusal(mirror: &Mirror) -> Result<Option<Refusal>, MirrorError> {
    Ok(layout::read_json(&mirror.layout.refused())?)
}

/// The permission that waits for its commit.
///
/// # Errors
/// The file cannot be read.
pub fn permit(mirror: &Mirror) -> Result<Option<Permit>, MirrorError> {
    Ok(layout::read_json(&mirror.layout.permit())?)
}

impl From<&Finding> for RefusedFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code.to_owned(),
            error: finding.severity == Severity::Error,
            message: finding.message.clone(),
            place: finding.location.as_ref().map(ToString::to_string),
            help: finding.help.clone(),
        }
    }
}

impl fmt::Display for RefusedFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Findings { findings } => {
                let mut errors = findings.iter().filter(|finding| finding.error);
                match (errors.next(), errors.count()) {
                    (None, _) => f.write_str("it has errors"),
                    (Some(first), 0) => write!(f, "{first}"),
                    (Some(first), more) => write!(f, "{first} (and {more} more)"),
                }
            }
            Self::NotDescendant { accepted, merge_base } => {
                write!(
                    f,
                    "it does not descend from the accepted commit {}: the branch was rewritten or put back",
                    accepted.short()
                )?;
                if let Some(base) = merge_base {
                    write!(f, "; the last commit that both share is {}", base.short())?;
                }
                f.write_str("; push a commit that descends from it (to go back, revert), or run `pinfold accept-history SHA --reason …`")
            }
            Self::AcceptedLost { accepted } => write!(
                f,
                "the accepted commit {} is lost here, and the repository does not have it, so whether this one descends from it cannot be told; \
                 push the accepted commit again, or run `pinfold accept-history SHA --reason …`",
                accepted.short()
            ),
        }
    }
}

//! The only room that joins domain, store and connectors: load, decide, save, in that order, one verb a file.
//!
//! Deliberately not here: how a call arrives (the doors), SQL (the store), and rules (the domain).

mod apply;
mod approve;
mod callback;
mod collect;
mod dispatch;
mod exception;
mod hold;
mod inquire;
mod intake;
mod pace;
mod publish;
mod read;
mod reconcile;
mod reissue;
mod release;
mod report;
mod restored;
mod said;
mod setup;
mod submit;
mod verify;
mod window;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use paymaster_connectors::contract::{Connector, Reference};
use paymaster_connectors::registry::Registry;

use crate::clock::Clock;
use crate::domain::id::{Id, Payroll};
use crate::store::{Scope, Store};

pub use dispatch::Due;
pub use exception::{EXCEPTIONS_AT_ONCE_MAX, ManyOutcome, ProposalRequest, Refusals};
pub use intake::{CHUNK_ROWS, IntakeRequest};
pub use pace::ProviderStanding;
pub use read::{PayrollStatus, ProviderStatus, Timeline, TimelineEntry};
pub use reconcile::Reconciliation;
pub use reissue::Reasons;
pub use report::{Cell, Check, Kind, Narrow, REPORTS, ReportName, Table, paper};
pub use restored::Restored;
pub use setup::{CycleRequest, ProgrammeRequest, Role};
pub use verify::{Finding, Verification};

/// A worker's hold on a batch, and how much of it must be left before a write.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTerms {
    /// How long a claim lasts without renewal, in microseconds.
    pub lease_micros: i64,
    /// A write must not begin with less of it left.
    pub margin_micros: i64,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self { lease_micros: 120_000_000, margin_micros: 45_000_000 }
    }
}

/// One institution we send to.
pub struct Provider {
    /// Its name, as payrolls and reports show it.
    pub name: String,
    /// Which payee accounts it pays: `scheme:*@provider`.
    pub routes: Vec<Route>,
    /// How to speak with it.
    pub connector: Arc<dyn Connector>,
    /// The unguessable part of the address it calls us back at.
    pub callback_secret: Option<String>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("routes", &self.routes).finish_non_exhaustive()
    }
}

impl Provider {
    /// How many of its batches workers may have in hand at once; one at least.
    fn lanes(&self) -> i64 {
        i64::from(self.connector.profile().batches_in_flight).max(1)
    }
}

/// Payee accounts with this scheme (any when empty) at this provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Scheme of the financial address, lower case.
    pub scheme: String,
    /// Provider part of the financial address, lower case.
    pub provider: String,
}

impl Route {
    /// Reads `scheme:*@provider` or `*@provider`.
    pub fn parse(text: &str) -> Option<Self> {
        let (left, provider) = text.split_once('@')?;
        let scheme = if left == "*" { "" } else { left.strip_suffix(":*")? };
        let known = !provider.is_empty() && !provider.contains('*') && !scheme.contains('*');
        known.then(|| Self { scheme: scheme.to_lowercase(), provider: provider.to_lowercase() })
    }

    fn takes(&self, scheme: &str, provider: &str) -> bool {
        self.provider == provider && (self.scheme.is_empty() || self.scheme == scheme)
    }
}

/// The engine. Everything durable is in the store; this only joins.
#[derive(Debug)]
pub struct Engine {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// Whom we send to.
    pub providers: Vec<Provider>,
    /// Whom we tell.
    pub registry: Option<Registry>,
    /// The payer's financial address in messages to the registry.
    pub payer_account: String,
    /// Lease terms.
    pub lease: LeaseTerms,
    /// Where files lie while they are worked on; made when it is missing.
    pub folder: PathBuf,
    slots: pace::Slots,
}

impl Engine {
    /// An engine without providers; add them before it works.
    pub fn new(store: Store, clock: Clock) -> Self {
        let (providers, registry, payer_account) = (Vec::new(), None, String::from("treasury@paymaster"));
        let (lease, slots, folder) = (LeaseTerms::default(), pace::Slots::default(), std::env::temp_dir());
        Self { store, clock, providers, registry, payer_account, lease, folder, slots }
    }

    fn provider(&self, name: &str) -> anyhow::Result<&Provider> {
        let found = self.providers.iter().find(|provider| provider.name == name);
        found.ok_or_else(|| anyhow::anyhow!("no provider named {name} is configured"))
    }

    /// The reference of a disbursement or batch towards providers.
    pub fn reference(&self, number: i64) -> Reference {
        Reference::new(number, self.store.tag)
    }

    /// A reference that this installation gave, read.
    pub fn own_reference(&self, text: &str) -> Option<Reference> {
        Reference::parse(text).filter(|one| self.reference(one.number()) == *one)
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Whose rows they see.
    pub scope: Scope,
    /// The person; the same whatever token they come with.
    pub person: String,
}

/// Why a verb did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller can do something about it.
    #[error("{0}")]
    Refused(Refused),
    /// Something broke on our side; nothing was half done.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// A refusal with a stable code and words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What kind; the API's status follows from it.
    pub kind: RefusedKind,
    /// Stable, snake case.
    pub code: &'static str,
    /// What to do about it.
    pub text: String,
}

/// Kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKind {
    /// It does not exist for this caller.
    NotFound,
    /// The caller may not.
    Forbidden,
    /// Not in this state, or somebody was faster.
    Conflict,
    /// What was sent cannot be used.
    Invalid,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Result of a verb.
pub type Outcome<T> = Result<T, Error>;

fn refused<T>(kind: RefusedKind, code: &'static str, text: impl Into<String>) -> Outcome<T> {
    Err(Error::Refused(Refused { kind, code, text: text.into() }))
}

fn no_payroll<T>(id: Id<Payroll>) -> Outcome<T> {
    refused(RefusedKind::NotFound, "payroll_unknown", format!("there is no payroll {id}"))
}

//! A provider of one of four kinds, with a ledger of its own: the oracle that our books are held against.
//!
//! It knows references, sums and accounts, and nothing of us. Deliberately not here: the network around it, and
//! when something happens (`world`).

use std::collections::BTreeMap;

use paymaster_connectors::contract::Reference;

/// What a provider does with copies and questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Executes a reference once, and remembers rejections too.
    Remembers,
    /// Executes a reference once; a rejected one may be tried again.
    ForgetsRejections,
    /// Executes every copy; answers questions.
    NoDedupe,
    /// Executes every copy; only its statement tells.
    StatementOnly,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Remembers, Self::ForgetsRejections, Self::NoDedupe, Self::StatementOnly];

    pub fn dedupes(self) -> bool {
        matches!(self, Self::Remembers | Self::ForgetsRejections)
    }
}

/// Where one execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Rejected,
    Returned,
    Pending,
    Settled,
}

/// One row of a request as it travels.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub reference: Reference,
    pub amount_minor: i64,
    pub account: String,
}

/// One execution of one reference.
#[derive(Debug, Clone)]
pub(super) struct Execution {
    pub asked: Asked,
    pub stage: Stage,
    pub short_of_float: bool,
    /// The call it came with.
    pub call: u64,
    /// When the key was first seen.
    pub at: i64,
    /// Questions do not see it before.
    pub visible_at: i64,
}

/// A provider and its ledger.
#[derive(Debug)]
pub(super) struct Operator {
    pub kind: Kind,
    /// How long a key is remembered.
    pub window: i64,
    pub float_minor: i64,
    pub executions: Vec<Execution>,
    by_reference: BTreeMap<Reference, Vec<usize>>,
}

impl Operator {
    pub fn new(kind: Kind, window: i64, float_minor: i64) -> Self {
        Self { kind, window, float_minor, executions: Vec::new(), by_reference: BTreeMap::new() }
    }

    pub fn of(&self, reference: Reference) -> impl Iterator<Item = (usize, &Execution)> {
        let places = self.by_reference.get(&reference).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|place| (*place, &self.executions[*place]))
    }

    /// Whether a further copy would be answered without being executed.
    pub fn replays(&self, reference: Reference, now: i64) -> bool {
        let remembered = |one: &Execution| {
            let counts = self.kind == Kind::Remembers || one.stage != Stage::Rejected;
            counts && now < one.at.saturating_add(self.window)
        };
        self.kind.dedupes() && self.of(reference).any(|(_, one)| remembered(one))
    }

    /// Takes a row in. It is pending until it is carried out.
    pub fn take(&mut self, asked: Asked, call: u64, (at, visible_at): (i64, i64)) -> usize {
        let place = self.executions.len();
        self.by_reference.entry(asked.reference).or_default().push(place);
        self.executions.push(Execution { asked, stage: Stage::Pending, short_of_float: false, call, at, visible_at });
        place
    }

    /// Credits the payee, or rejects where the float is short.
    pub fn credit(&mut self, place: usize) {
        let Some(execution) = self.executions.get_mut(place).filter(|one| one.stage == Stage::Pending) else { return };
        let amount = execution.asked.amount_minor;
        if amount > self.float_minor {
            (execution.stage, execution.short_of_float) = (Stage::Rejected, true);
            return;
        }
        self.float_minor -= amount;
        execution.stage = Stage::Settled;
    }

    pub fn reject(&mut self, place: usize) {
        if let Some(execution) = self.executions.get_mut(place).filter(|one| one.stage == Stage::Pending) {
            execution.stage = Stage::Rejected;
        }
    }

    /// The payee's bank sends it back.
    pub fn give_back(&mut self, place: usize) -> bool {
        let Some(execution) = self.executions.get_mut(place).filter(|one| one.stage == Stage::Settled) else {
            return false;
        };
        execution.stage = Stage::Returned;
        self.float_minor += execution.asked.amount_minor;
        true
    }

    /// What a question about a reference is answered with: the execution that says most.
    pub fn shown(&self, reference: Reference, now: i64) -> Option<(usize, &Execution)> {
        self.of(reference).filter(|(_, one)| one.visible_at <= now).max_by_key(|(_, one)| one.stage)
    }
}

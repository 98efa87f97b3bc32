//! What the search walks over: one payment in at most two generations, its workers, the network, and the provider's
//! books. Small and plain, because millions of these are compared. Deliberately not here: what may happen next.

use paymaster_connectors::contract::{Dedupe, Profile};

use super::word::{Word, Words};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::State;
use crate::domain::guard::Guard;

/// Generations of the payment; the second shows all that a third could.
pub const GENERATIONS: usize = 2;
/// Crashes, pauses and shut gates in all.
const TROUBLES_MAX: u8 = 2;
/// Second copies in all, ours or the network's.
const COPIES_MORE_MAX: u8 = 1;
/// What a rule was broken by; the first words name the invariant.
pub type Broken = &'static str;

/// Everything there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The attempts, oldest first; those after `newest` do not exist yet.
    pub generations: [Generation; GENERATIONS],
    /// Which generation is the payment's now.
    pub newest: u8,
    /// How much may still go wrong on our side.
    pub troubles: u8,
    /// How many second copies may still be made.
    pub copies_more: u8,
}

/// One attempt: our row and batch, who works at it, what travels, and what the provider has of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation {
    /// The row's own state, as stored.
    pub own: State,
    /// Its batch's, as stored.
    pub batch: BatchState,
    /// Durable intents.
    pub copies: u8,
    /// Whether an intent to send it was ever made durable.
    pub intended: bool,
    /// How long ago the last copy may have left.
    pub calm: Calm,
    /// The window is over, and the provider has forgotten the reference.
    pub forgotten: bool,
    /// Who holds the lease.
    pub worker: Worker,
    /// A worker that lost its lease in its sleep.
    pub sleeper: Sleeper,
    /// The next copy goes under a new name; see [`Guard::ResendKeepsReference`].
    pub renaming: bool,
    /// Copies under way.
    pub flying: u8,
    /// Copies under way under another name.
    pub renamed: u8,
    /// Replies that the waiting worker may get.
    pub replies: Words,
    /// The provider's entries.
    pub books: Books,
}

/// What the provider has under one reference; more than one entry where it does not deduplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Books {
    /// Taken, no end yet.
    pub pending: u8,
    /// Paid out, and still out.
    pub settled: u8,
    /// Not paid.
    pub rejected: u8,
    /// Paid out and come back.
    pub returned: u8,
}

/// Time, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Calm {
    /// A copy may arrive.
    Restless,
    /// The fence has passed: no copy can arrive.
    Fenced,
    /// And the provider's books show all that did.
    Quiet,
}

/// Who holds the lease, and how far they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Worker {
    /// Nobody.
    Idle,
    /// Has the intent, and is before the gate.
    Intent,
    /// Has passed the gate, and has not written.
    Passed,
    /// Has written, and waits.
    Waiting,
    /// Has asked: the answer is under way, true as of then.
    Asking(Word, Calm),
}

/// A worker that sleeps and does not know that its lease is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sleeper {
    /// There is none.
    None,
    /// It will come to the gate, however late: the fence does not wait for it.
    BeforeGate,
    /// It had passed the gate: the fence is long enough for it to wake.
    PastGate,
}

impl Place {
    /// A payment that waits for a worker.
    pub fn first() -> Self {
        let generations = [Generation::sealed(); GENERATIONS];
        Self { generations, newest: 0, troubles: TROUBLES_MAX, copies_more: COPIES_MORE_MAX }
    }

    /// Rules that hold wherever the payment stands.
    pub fn broken(&self, profile: &Profile) -> Option<Broken> {
        let all = &self.generations;
        if all.iter().map(|one| one.books.settled).sum::<u8>() > 1 {
            return Some("I1 paid twice");
        }
        all.iter().find_map(|one| one.broken(profile))
    }

    /// What makes no difference any more is not told apart.
    pub fn settle_down(&mut self, profile: &Profile) {
        self.generations.iter_mut().for_each(|one| one.settle_down(profile));
        if usize::from(self.newest) + 1 == GENERATIONS && self.generations.iter().all(|one| one.own.is_final()) {
            (self.troubles, self.copies_more) = (0, 0);
        }
    }

    /// An end in which nothing can happen any more, and our books are the provider's.
    pub fn is_over(&self) -> bool {
        let existing = &self.generations[..=usize::from(self.newest)];
        existing.iter().all(|one| one.own.is_final() && one.is_still() && one.agrees())
    }
}

impl Generation {
    fn sealed() -> Self {
        Self {
            own: State::Queued,
            batch: BatchState::Sealed,
            copies: 0,
            intended: false,
            calm: Calm::Restless,
            forgotten: false,
            worker: Worker::Idle,
            sleeper: Sleeper::None,
            renaming: false,
            flying: 0,
            renamed: 0,
            replies: Words::default(),
            books: Books::default(),
        }
    }

    /// The state that counts.
    pub fn state(&self) -> State {
        effective(self.own, self.batch)
    }

    fn is_still(&self) -> bool {
        let travels = self.flying + self.renamed + self.books.pending > 0;
        !travels && self.worker == Worker::Idle && self.sleeper == Sleeper::None
    }

    /// Time makes no difference any more to an end that nothing can reach.
    fn settle_down(&mut self, profile: &Profile) {
        self.books.rejected = self.books.rejected.min(1);
        if self.own.is_final() && self.is_still() {
            self.calm = Calm::Quiet;
            self.forgotten = profile.dedupe == Dedupe::ByKey;
        }
    }

    fn agrees(&self) -> bool {
        let Books { settled, returned, .. } = self.books;
        match self.own {
            State::Settled => (settled, returned) == (1, 0),
            State::Returned => settled == 0 && returned > 0,
            _ => settled + returned == 0,
        }
    }

    /// Whether the provider answers a copy from memory instead of executing it.
    pub fn replays(&self, profile: &Profile) -> bool {
        let Books { pending, settled, rejected, returned } = self.books;
        let known = pending + settled + returned > 0 || (profile.remembers_rejections && rejected > 0);
        profile.dedupe == Dedupe::ByKey && known && !self.forgotten
    }

    /// Whether a copy may arrive before the fence: it is under way, or somebody has leave to write it.
    pub fn may_arrive_in_time(&self) -> bool {
        let writes = matches!(self.worker, Worker::Intent | Worker::Passed) || self.sleeper == Sleeper::PastGate;
        self.flying + self.renamed > 0 || writes
    }

    /// Or at all.
    fn may_arrive(&self) -> bool {
        let wakes = self.sleeper == Sleeper::BeforeGate && !Guard::LeaseBeforeWrite.stands();
        self.may_arrive_in_time() || wakes
    }

    fn broken(&self, profile: &Profile) -> Option<Broken> {
        let Books { pending, settled, returned, .. } = self.books;
        let may_pay = pending > 0 || self.renamed > 0 || (self.may_arrive() && !self.replays(profile));
        let there = self.flying + self.renamed + pending + settled + returned > 0;
        match self.own {
            State::Rejected if settled + returned > 0 => Some("I2 rejected with the money out"),
            State::Rejected if may_pay => Some("I2 rejected while a copy can still pay"),
            State::Settled if settled + returned == 0 => Some("I3 settled without a debit"),
            _ if there && !self.intended => Some("I5 a copy without a durable intent"),
            _ => None,
        }
    }
}

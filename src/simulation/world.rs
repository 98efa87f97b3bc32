//! The world of one seed: its time, what is under way in it, and what has happened.
//!
//! Nothing happens by itself: whoever takes the next event off the queue moves time to it. Everything that happens
//! is folded into one hash, so that a seed that is run twice can be held against itself. Deliberately not here:
//! doing what an event says (`stage`).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use paymaster_connectors::contract::Reference;

use super::operator::{Asked, Operator};
use super::rare::{Rare, Seen};
use crate::chance::Chance;

/// A second and an hour, in the microseconds that the world counts in.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const HOUR: i64 = 3_600 * SECOND;

/// The chance of a seed, which is another than a sample's of the same seed.
pub(super) fn chance(seed: u64) -> Chance {
    Chance::new(seed ^ 0x5eed_ba5e_0000_0001)
}

/// What a provider says about one payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Accepted,
    Settled,
    Rejected,
    FloatShort,
    Returned,
    Absent,
    /// Settled, with another sum.
    OtherAmount,
}

/// What comes back on a call.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// The provider has the whole of it.
    Taken,
    /// A word on each of some payments.
    Words(Vec<(Reference, Word, i64)>),
    /// Nothing was done; come again after so many seconds.
    Busy(Option<u64>),
    /// An error, or something that cannot be read.
    Broken,
}

/// What travels to a provider.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Pay(Vec<Asked>),
    Ask(Vec<Reference>),
}

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A wait is over.
    Wake(u64),
    /// A request arrives. The call it belongs to may have given up long ago.
    Arrive { provider: usize, call: u64, request: Request },
    /// An answer arrives.
    Reply { call: u64, answer: Answer },
    /// A provider carries out what it has taken.
    Execute { provider: usize, place: usize },
    /// A payee's bank sends back.
    GiveBack { provider: usize, place: usize },
    /// A provider calls us.
    CallBack { provider: usize, place: usize, word: Word, tries: u8 },
    /// A worker dies.
    Kill(usize),
    /// A worker begins.
    Start(usize),
    /// A worker sleeps for so long; a suspended machine's own clock sleeps with it.
    Sleep { worker: usize, micros: i64, suspended: bool },
    /// A worker wakes.
    Rouse(usize),
    /// A person looks in.
    Person,
    /// The database is copied.
    Backup,
    /// The copy is put back, and everything since then is lost to us.
    Restore,
    /// The storm is over.
    Calm,
}

/// Someone who waits.
#[derive(Debug)]
struct Waiter {
    task: u64,
    over: Option<Option<Answer>>,
}

/// The world, as everyone in it holds it.
pub(super) struct World {
    inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub now: i64,
    pub chance: Chance,
    pub storm: bool,
    pub operators: Vec<Operator>,
    pub seen: Seen,
    pub events: u64,
    pub hash: u64,
    /// Tasks that wait for something simulated since they were last asked.
    pub parked: bool,
    /// Waits that ended without an answer; a call among them was given up.
    pub given_up: BTreeSet<u64>,
    /// Calls of providers at our door that are being heard.
    pub calls: u64,
    /// Whether the database will go back to a backup.
    pub to_be_restored: bool,
    /// Payees who were credited more than once, net of returns.
    pub paid_twice: u64,
    /// Credits less returns by payee, whoever paid. Each is owed one payment.
    net: BTreeMap<String, i64>,
    /// References that went out at least once, and when they first did.
    sent: BTreeMap<Reference, i64>,
    queue: BTreeMap<(i64, u64), Event>,
    waiters: BTreeMap<u64, Waiter>,
    sequence: u64,
}

impl World {
    pub fn new(seed: u64, now: i64) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                now,
                chance: chance(seed),
                storm: true,
                operators: Vec::new(),
                seen: Seen::default(),
                events: 0,
                hash: 0xcbf2_9ce4_8422_2325,
                parked: false,
                given_up: BTreeSet::new(),
                calls: 0,
                to_be_restored: false,
                paid_twice: 0,
                net: BTreeMap::new(),
                sent: BTreeMap::new(),
                queue: BTreeMap::new(),
                waiters: BTreeMap::new(),
                sequence: 0,
            }),
        })
    }

    pub fn look(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in simulated time.
    pub fn wait(self: &Arc<Self>, task: u64, micros: i64) -> Wait {
        let mut inner = self.look();
        let waiter = inner.waiter(task);
        inner.after(micros, Event::Wake(waiter));
        Wait { world: self.clone(), waiter }
    }

    /// Sends a request and waits for the answer, or until the time is over.
    pub fn call(self: &Arc<Self>, task: u64, (provider, request): (usize, Request), timeout: i64) -> Wait {
        let mut inner = self.look();
        let call = inner.waiter(task);
        inner.send(provider, call, request);
        inner.after(timeout, Event::Wake(call));
        Wait { world: self.clone(), waiter: call }
    }
}

impl Inner {
    fn waiter(&mut self, task: u64) -> u64 {
        self.sequence += 1;
        self.waiters.insert(self.sequence, Waiter { task, over: None });
        self.sequence
    }

    pub fn after(&mut self, micros: i64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now.saturating_add(micros.max(0)), self.sequence), event);
    }

    /// Puts a request on its way. It may be lost, and it may be slow; never slower than [`TRAVEL_MAX`].
    pub fn send(&mut self, provider: usize, call: u64, request: Request) {
        if self.storm && self.chance.falls(60) {
            return;
        }
        let travel = self.travel();
        self.after(travel, Event::Arrive { provider, call, request });
    }

    /// How long something travels.
    pub fn travel(&mut self) -> i64 {
        if self.storm && self.chance.falls(60) {
            self.chance.between(SECOND, TRAVEL_MAX)
        } else {
            self.chance.between(1_000, 400_000)
        }
    }

    /// The next event; time moves to it.
    pub fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.queue.pop_first()?;
        self.now = self.now.max(at);
        self.events += 1;
        self.fold(&format!("{at} {event:?}"));
        Some(event)
    }

    /// Adds to the hash of everything that happened.
    pub fn fold(&mut self, text: &str) {
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Ends a wait; the task that is to go on, if it still waits.
    pub fn end(&mut self, waiter: u64, answer: Option<Answer>) -> Option<u64> {
        let waiting = self.waiters.get_mut(&waiter).filter(|one| one.over.is_none())?;
        if answer.is_none() {
            self.given_up.insert(waiter);
        }
        waiting.over = Some(answer);
        Some(waiting.task)
    }

    pub fn is_waiting(&self, waiter: u64) -> bool {
        self.waiters.get(&waiter).is_some_and(|one| one.over.is_none())
    }

    /// Remembers what went out; a second time is a resend.
    pub fn written(&mut self, rows: &[Asked]) {
        for row in rows {
            if self.sent.contains_key(&row.reference) {
                self.note(Rare::Resent);
            } else {
                self.sent.insert(row.reference, self.now);
            }
        }
    }

    /// When a reference first went out.
    pub fn first_sent(&self, reference: Reference) -> Option<i64> {
        self.sent.get(&reference).copied()
    }

    /// A provider has credited a payee.
    pub fn credited(&mut self, asked: &Asked) {
        let net = self.net.entry(payee(&asked.account)).or_default();
        *net += asked.amount_minor;
        if *net > asked.amount_minor {
            self.paid_twice += 1;
        }
    }

    /// A payee's bank has sent back.
    pub fn taken_back(&mut self, asked: &Asked) {
        *self.net.entry(payee(&asked.account)).or_default() -= asked.amount_minor;
    }

    /// Whether anything but waiting workers is still to come.
    pub fn is_quiet(&self) -> bool {
        let waits = |event: &Event| {
            use Event::{Backup, Calm, Kill, Person, Rouse, Sleep, Start, Wake};
            matches!(event, Wake(_) | Person | Calm | Kill(_) | Start(_) | Rouse(_) | Sleep { .. } | Backup)
        };
        self.calls == 0 && self.queue.values().all(waits)
    }

    pub fn note(&mut self, what: Rare) {
        self.seen.note(what);
    }
}

/// Who is paid, at whichever provider the account is.
fn payee(account: &str) -> String {
    account.split('@').next().unwrap_or(account).to_owned()
}

/// Longest time anything travels. A provider's fence must be longer.
pub(super) const TRAVEL_MAX: i64 = 90 * SECOND;

/// A wait for simulated time, or for an answer until then.
pub(super) struct Wait {
    world: Arc<World>,
    waiter: u64,
}

impl Future for Wait {
    type Output = Option<Answer>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let mut inner = self.world.look();
        let over = inner.waiters.get_mut(&self.waiter).and_then(|waiter| waiter.over.take());
        match over {
            Some(answer) => {
                inner.waiters.remove(&self.waiter);
                Poll::Ready(answer)
            }
            None => {
                inner.parked = true;
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.world.look().waiters.remove(&self.waiter);
    }
}

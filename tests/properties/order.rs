//! The end of a payment does not depend on the order in which its reports come, nor on how often.
//!
//! What is compared is the state, the money, and whether an exception is open: a provider that contradicts itself
//! leaves the payment where the first word put it, and a person is told in every order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use paymaster::domain::disbursement::{State, step};
use paymaster::domain::judge::{Attempt, Verdict, judge};
use paymaster::store::ledger::{self, Account};
use paymaster_connectors::contract::{
    Batch, Callback, CallbackTrust, Connector, Currency, Dedupe, Failure, Finality, Gate, Inquiry, Message, Money,
    Outcome, Profile, Reason, ReasonClass, Received, Reference, Report, Said, Source,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::{draws, runtime};
use crate::world::{Database, World};

const SUM_MINOR: i64 = 1_000;
const ACCOUNT: &str = "mobile:+254700000001@mobile-op";
const FENCE: Duration = Duration::from_secs(1_000);
/// Payments that hear the same in different orders.
const ORDERS: usize = 6;
/// What the house's programme was given.
const FUNDS_MINOR: i64 = 100_000_000;

/// A word a provider may say of a payment that was sent, by the name it has in the calls of these tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Accepted,
    Settled,
    SettledSum,
    OtherSum,
    Rejected,
    RejectedWhy,
    Duplicate,
    Returned,
    Absent,
}

const WORDS: [Word; 9] = [
    Word::Accepted,
    Word::Settled,
    Word::SettledSum,
    Word::OtherSum,
    Word::Rejected,
    Word::RejectedWhy,
    Word::Duplicate,
    Word::Returned,
    Word::Absent,
];

impl Word {
    fn report(self, reference: Reference) -> Report {
        let rejected = |class| Outcome::Rejected(Reason::new(class, "code", ""));
        let outcome = match self {
            Self::Accepted => Outcome::Accepted,
            Self::Settled | Self::SettledSum | Self::OtherSum => Outcome::Settled,
            Self::Rejected => rejected(ReasonClass::FixData),
            Self::RejectedWhy => rejected(ReasonClass::Unknown),
            Self::Duplicate => rejected(ReasonClass::Duplicate),
            Self::Returned => Outcome::Returned(Reason::new(ReasonClass::FixAtBank, "closed", "")),
            Self::Absent => Outcome::Absent,
        };
        let kes = Currency::parse("KES").unwrap();
        let amount = match self {
            Self::SettledSum => Some(Money::new(SUM_MINOR, kes)),
            Self::OtherSum => Some(Money::new(SUM_MINOR + 1, kes)),
            _ => None,
        };
        Report { amount, ..Report::instruction(reference, outcome) }
    }
}

/// A provider that can be asked and calls us, and what it does with a second copy.
fn profile(dedupe: bool, remembers_rejections: bool) -> Profile {
    Profile {
        dedupe: if dedupe { Dedupe::ByKey } else { Dedupe::None },
        dedupe_window: Duration::from_secs(86_400),
        remembers_rejections,
        absent_after: FENCE,
        fence: FENCE,
        inquiry: Inquiry::Direct,
        callback_trust: CallbackTrust::SecretUrl,
        finality: Finality::Status,
        inquire_every: Duration::from_secs(1),
        inquire_every_max: Duration::from_secs(1),
        ..Profile::worst()
    }
}

/// A set of words and orders in which to say it, some of them twice.
fn orders<T: std::fmt::Debug + Copy + 'static>(
    word: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<Vec<T>>> {
    let twice = |words: Vec<T>| {
        let more = proptest::sample::subsequence(words.clone(), 0..=words.len());
        more.prop_map(move |more| words.iter().chain(&more).copied().collect::<Vec<T>>()).prop_shuffle()
    };
    proptest::collection::vec(word, 1..=5).prop_flat_map(move |words| proptest::collection::vec(twice(words), ORDERS))
}

/// By the rules alone, before the fence: where it ends, and whether a person is told.
fn end_by_rules(profile: &Profile, copies: u32, said: &[(Word, Source)]) -> (State, bool) {
    let mut told = false;
    let mut state = State::InDoubt;
    for (word, source) in said {
        let attempt = Attempt {
            state,
            copies,
            last_copy_at: 0,
            fence_at: i64::try_from(FENCE.as_micros()).unwrap(),
            amount: Money::new(SUM_MINOR, Currency::parse("KES").unwrap()),
            payee_account: ACCOUNT,
        };
        match judge(&attempt, &word.report(Reference::new(1, 1)), *source, profile, 1) {
            Verdict::Move(asked) => state = step(state, asked).unwrap(),
            Verdict::Contradiction(_) => told = true,
            Verdict::Repeat | Verdict::Inconclusive => {}
        }
    }
    (state, told)
}

/// Where a person is told, the state is theirs to decide.
fn comparable((state, told): (State, bool)) -> Option<State> {
    (!told).then_some(state)
}

#[test]
fn by_the_rules_the_end_does_not_depend_on_the_order() {
    let source = select(vec![Source::Reply, Source::Callback, Source::Inquiry]);
    let cases = (any::<bool>(), any::<bool>(), 1_u32..=2, orders((select(WORDS.to_vec()), source)));
    draws(3_000, 1)
        .run(&cases, |(dedupe, remembers, copies, orders)| {
            let profile = profile(dedupe, remembers);
            let ends: Vec<_> = orders.iter().map(|said| end_by_rules(&profile, copies, said)).collect();
            for end in &ends {
                prop_assert_eq!(comparable(*end), comparable(ends[0]), "{:?} came to {:?}", orders, ends);
            }
            Ok(())
        })
        .unwrap();
}

/// Takes everything and says nothing; says once that it has nothing, if it is to be sent a second copy.
struct Silent {
    profile: Profile,
    absences: AtomicUsize,
    sent: AtomicUsize,
}

#[async_trait]
impl Connector for Silent {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, _batch: &Batch) -> Result<Vec<u8>, Failure> {
        Ok(b"wire".to_vec())
    }

    async fn submit(&self, _batch: &Batch, _wire: &[u8], gate: &dyn Gate, _said: &mut dyn Said) -> Result<(), Failure> {
        gate.pass(1).await?;
        self.sent.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let left = self.absences.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            let message = Message { source: Source::Inquiry, origin: String::from("test"), bytes: "{}".into() };
            let absent = batch.instructions.iter().map(|one| Report::instruction(one.reference, Outcome::Absent));
            said.say(message, absent.collect()).await.unwrap();
        }
        Ok(())
    }

    /// `3 REFERENCE`, the word by its place among them, and anything after it.
    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        let text = String::from_utf8(call.body.to_vec()).unwrap();
        let mut words = text.split(' ');
        let word = WORDS[words.next().unwrap().parse::<usize>().unwrap()];
        let reference = Reference::parse(words.next().unwrap()).unwrap();
        Ok(Received { reports: vec![word.report(reference)], ask: vec![] })
    }
}

/// Payments in doubt at a silent provider, which has been sent one copy or two.
struct Doubt {
    world: World,
    payroll: paymaster::domain::id::Id<paymaster::domain::id::Payroll>,
}

impl Doubt {
    async fn new(profile: Profile) -> Self {
        let mut world = World::new(Database::Sqlite).await;
        let copies = if profile.dedupe == Dedupe::ByKey { 2 } else { 1 };
        let silent = Arc::new(Silent { profile, absences: AtomicUsize::new(1), sent: AtomicUsize::new(0) });
        Arc::get_mut(&mut world.engine).unwrap().providers[0].connector = Arc::new(Shared(silent.clone()));
        let keys: Vec<String> = (0..ORDERS).map(|n| format!("E{n}")).collect();
        let rows: Vec<(&str, &str, &str)> = keys.iter().map(|key| (key.as_str(), "10.00", ACCOUNT)).collect();
        let payroll = world.take_in(&rows).await.id;
        world.release(payroll).await;
        for _ in 0..4 {
            world.step().await;
            world.pass_seconds(1);
        }
        assert_eq!(silent.sent.load(Ordering::SeqCst), copies);
        Self { world, payroll }
    }

    async fn say(&self, number: i64, position: usize, word: Word) {
        let at = WORDS.iter().position(|known| *known == word).unwrap();
        let body = format!("{at} {} {position}", self.world.engine.reference(number));
        let call = Callback { headers: vec![], body: body.into() };
        self.world.engine.hear("mobile-op", "s3cret", &call).await.unwrap();
    }

    /// The payments in order of their numbers: where each ended, and whether a person is told of it.
    async fn ends(&self) -> BTreeMap<i64, (State, bool)> {
        let scope = &self.world.maker.scope;
        let told: BTreeSet<i64> =
            self.world.engine.exceptions(scope, 0, 1_000).await.unwrap().iter().map(|one| one.subject).collect();
        let rows = self.world.engine.disbursements(scope, self.payroll, &[], (0, 1_000)).await.unwrap();
        rows.into_iter().map(|row| (row.shown.number, (row.state, told.contains(&row.shown.number)))).collect()
    }

    /// The ledger has the money of every payment where the payment's state says, or in suspense while a person has to
    /// look.
    async fn money_is_where_the_states_say(&self) {
        let ends = self.ends().await;
        let count = |wanted: fn(State) -> bool| {
            i64::try_from(ends.values().filter(|(state, told)| !told && wanted(*state)).count()).unwrap() * SUM_MINOR
        };
        let suspended = i64::try_from(ends.values().filter(|(_, told)| *told).count()).unwrap() * SUM_MINOR;
        let wanted = BTreeMap::from([
            (Account::Funding, -FUNDS_MINOR),
            (Account::Available, FUNDS_MINOR - suspended - count(|state| state != State::Rejected)),
            (Account::Reserved, 0),
            (Account::InTransit, count(State::is_in_flight)),
            (Account::Paid, count(|state| state == State::Settled)),
            (Account::Returned, count(|state| state == State::Returned)),
            (Account::Suspense, suspended),
        ]);
        assert_eq!(balances(&self.world).await, wanted, "{ends:?}");
        self.world.verified().await;
    }
}

/// The connector of a provider that the test also holds.
struct Shared(Arc<Silent>);

#[async_trait]
impl Connector for Shared {
    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        self.0.encode(batch)
    }

    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        self.0.submit(batch, wire, gate, said).await
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        self.0.inquire(batch, said).await
    }

    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        self.0.receive(call)
    }
}

/// What each account of the house's programme holds.
pub async fn balances(world: &World) -> BTreeMap<Account, i64> {
    let programme = world.engine.programme(&world.maker.scope, "cash").await.unwrap().id;
    let mut tx = world.engine.store.read().await.unwrap();
    ledger::balances(&mut tx, programme).await.unwrap().into_iter().collect()
}

#[test]
fn at_the_engine_the_end_does_not_depend_on_the_order() {
    let runtime = runtime();
    let cases = (any::<bool>(), any::<bool>(), orders(select(WORDS.to_vec())));
    draws(30, 2)
        .run(&cases, |(dedupe, remembers, orders)| {
            let ends = runtime.block_on(async {
                let doubt = Doubt::new(profile(dedupe, remembers)).await;
                let numbers: Vec<i64> = doubt.ends().await.into_keys().collect();
                for (number, said) in numbers.iter().zip(&orders) {
                    for (position, word) in said.iter().enumerate() {
                        doubt.say(*number, position, *word).await;
                    }
                }
                doubt.money_is_where_the_states_say().await;
                doubt.ends().await.into_values().collect::<Vec<_>>()
            });
            for end in &ends {
                prop_assert_eq!(comparable(*end), comparable(ends[0]), "{:?} came to {:?}", orders, ends);
            }
            Ok(())
        })
        .unwrap();
}

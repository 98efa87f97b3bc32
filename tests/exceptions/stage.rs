//! A payroll with a provider that takes everything and says nothing but by calls to our door, which the test makes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use paymaster::domain::disbursement::State;
use paymaster::domain::exception::Decision;
use paymaster::domain::id::{Evidence, Exception, Id, Payroll};
use paymaster::domain::payroll::PayrollKind;
use paymaster::engine::{Actor, Error, IntakeRequest, Outcome as Asked, ProposalRequest, Timeline};
use paymaster::store::ledger;
use paymaster::store::notes::ExceptionRow;
use paymaster::store::payroll::PayrollRow;
use paymaster_connectors::contract::{
    Batch, Callback, CallbackTrust, Connector, Currency, Failure, Finality, Gate, Inquiry, Message, Money, Outcome,
    Profile, Reason, ReasonClass, Received, Reference, Report, Said, Source,
};

use crate::world::{Database, World, csv, totals};

pub const A: &str = "mobile:+254700000001@mobile-op";
pub const B: &str = "mobile:+254700000002@mobile-op";
/// What the programme had before anything was paid.
pub const FUNDED: i64 = 100_000_000;
pub const FENCE_SECONDS: i64 = 100;

/// What the provider does with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    SaysNothing,
    TakesNothing,
}

pub struct Script {
    profile: Profile,
    pub mood: Mutex<Mood>,
    pub unwritable: Mutex<bool>,
    pub sent: Mutex<Vec<Reference>>,
}

struct Teller(Arc<Script>);

#[async_trait]
impl Connector for Teller {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn encode(&self, _batch: &Batch) -> Result<Vec<u8>, Failure> {
        if *self.0.unwritable.lock().unwrap() {
            return Err(Failure::Refused(Reason::new(ReasonClass::Format, "name_too_long", "")));
        }
        Ok(b"wire".to_vec())
    }

    async fn submit(&self, batch: &Batch, _wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        gate.pass(1).await?;
        let mood = *self.0.mood.lock().unwrap();
        if mood == Mood::TakesNothing {
            let reason = Reason::new(ReasonClass::NotExecuted, "http_429", "later");
            return Err(Failure::Unavailable { reason, retry_after_seconds: None });
        }
        self.0.sent.lock().unwrap().extend(batch.instructions.iter().map(|one| one.reference));
        if mood == Mood::Takes {
            let message = Message { source: Source::Reply, origin: "test".to_owned(), bytes: "{}".into() };
            let taken = |one: &paymaster_connectors::contract::Instruction| {
                Report::instruction(one.reference, Outcome::Accepted)
            };
            said.say(message, batch.instructions.iter().map(taken).collect()).await.unwrap();
        }
        Ok(())
    }

    async fn inquire(&self, _batch: &Batch, _said: &mut dyn Said) -> Result<(), Failure> {
        Ok(())
    }

    /// A line each: `settled|rejected|returned REFERENCE [amount=MINOR] [as=NAME] [class=CLASS] [code=CODE] [#n]`.
    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        let text = String::from_utf8(call.body.to_vec()).unwrap();
        Ok(Received { reports: text.lines().map(report).collect(), ask: vec![] })
    }
}

fn report(line: &str) -> Report {
    let mut words = line.split(' ');
    let told = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let class = told("class").map_or(ReasonClass::FixAtBank, |class| ReasonClass::parse(class).unwrap());
    let reason = Reason::new(class, told("code").unwrap_or("closed"), "account closed");
    let outcome = match words.next().unwrap() {
        "settled" => Outcome::Settled,
        "rejected" => Outcome::Rejected(reason),
        _ => Outcome::Returned(reason),
    };
    let mut report = Report::instruction(Reference::parse(words.next().unwrap()).unwrap(), outcome);
    for word in words {
        match word.split_once('=') {
            Some(("amount", minor)) => {
                report.amount = Some(Money::new(minor.parse().unwrap(), Currency::parse("KES").unwrap()));
            }
            Some(("as", name)) => report.provider_reference = Some(name.to_owned()),
            _ => {}
        }
    }
    report
}

pub struct Stage {
    pub world: World,
    pub script: Arc<Script>,
    pub payroll: PayrollRow,
}

impl Stage {
    /// Two rows, E1 of 10.00 and E2 of 20.00, in one batch that the provider took.
    pub async fn new(database: Database) -> Self {
        let stage = Self::waiting(database, Mood::Takes).await;
        stage.world.step().await;
        assert_eq!(stage.states().await, [State::Accepted; 2]);
        stage
    }

    /// The same, released and not sent.
    pub async fn waiting(database: Database, mood: Mood) -> Self {
        Self::with(database, mood, Profile::worst()).await
    }

    /// The same with a provider that is like this in what the test does not need otherwise.
    pub async fn with(database: Database, mood: Mood, profile: Profile) -> Self {
        Self::of_rows(database, (mood, profile), &[("E1", "10.00", A), ("E2", "20.00", B)]).await
    }

    /// So many rows of 10.00 in batches of 500 that the provider took.
    pub async fn many(database: Database, count: usize) -> Self {
        let keys: Vec<String> = (0..count).map(|n| format!("M{n:05}")).collect();
        let rows: Vec<(&str, &str, &str)> = keys.iter().map(|key| (key.as_str(), "10.00", A)).collect();
        let stage = Self::of_rows(database, (Mood::Takes, Profile::worst()), &rows).await;
        while stage.world.step().await {
            stage.world.pass_seconds(1);
        }
        assert_eq!(stage.script.sent.lock().unwrap().len(), count);
        stage
    }

    async fn of_rows(database: Database, (mood, profile): (Mood, Profile), rows: &[(&str, &str, &str)]) -> Self {
        let mut world = World::new(database).await;
        let profile = Profile {
            fence: Duration::from_secs(FENCE_SECONDS.unsigned_abs()),
            absent_after: Duration::ZERO,
            inquiry: Inquiry::Direct,
            callback_trust: CallbackTrust::SecretUrl,
            finality: Finality::Reply,
            ..profile
        };
        let (sent, unwritable) = (Mutex::default(), Mutex::default());
        let script = Arc::new(Script { profile, mood: Mutex::new(mood), unwritable, sent });
        Arc::get_mut(&mut world.engine).unwrap().providers[0].connector = Arc::new(Teller(script.clone()));
        let payroll = world.take_in(rows).await;
        world.release(payroll.id).await;
        Self { world, script, payroll }
    }

    /// Hands in rows to be paid again.
    pub async fn reissue(&self, rows: &[(&str, &str, &str)]) -> PayrollRow {
        let request = self.world.request(csv(rows).as_bytes(), totals(rows));
        let request = IntakeRequest { kind: PayrollKind::Reissue, ..request };
        self.world.engine.take_in(&self.world.maker, &request).await.unwrap()
    }

    pub async fn rows_of(&self, payroll: Id<Payroll>) -> Vec<Timeline> {
        self.world.engine.disbursements(&self.world.maker.scope, payroll, &[], (0, 100)).await.unwrap()
    }

    pub async fn row_of(&self, payroll: Id<Payroll>, entitlement: &str) -> Timeline {
        self.rows_of(payroll).await.into_iter().find(|row| row.entitlement == entitlement).unwrap()
    }

    pub async fn number(&self, entitlement: &str) -> i64 {
        self.row_of(self.payroll.id, entitlement).await.shown.number
    }

    pub async fn states(&self) -> [State; 2] {
        [self.row_of(self.payroll.id, "E1").await.state, self.row_of(self.payroll.id, "E2").await.state]
    }

    /// The provider calls: `settled`, `rejected amount=1`, `returned as=R1`; each call is another body.
    pub async fn hear(&self, what: &str, number: i64) {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        let reference = self.world.engine.reference(number);
        let text = format!("{word} {reference} {rest} #{}", CALLS.fetch_add(1, Ordering::SeqCst));
        let call = Callback { headers: vec![], body: text.into() };
        self.world.engine.hear("mobile-op", "s3cret", &call).await.unwrap();
    }

    /// The provider says the same of many payments in one call.
    pub async fn hear_all(&self, what: &str, numbers: &[i64]) {
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        let line = |number: &i64| format!("{word} {} {rest}", self.world.engine.reference(*number));
        let text = numbers.iter().map(line).collect::<Vec<_>>().join("\n");
        let call = Callback { headers: vec![], body: text.into() };
        self.world.engine.hear("mobile-op", "s3cret", &call).await.unwrap();
    }

    pub async fn hear_of(&self, what: &str, entitlement: &str) {
        self.hear(what, self.number(entitlement).await).await;
    }

    pub async fn exceptions(&self) -> Vec<ExceptionRow> {
        self.world.engine.exceptions(&self.world.maker.scope, 0, 100).await.unwrap()
    }

    pub async fn codes(&self) -> Vec<String> {
        self.exceptions().await.into_iter().map(|one| one.code).collect()
    }

    /// The only open exception, which is of this kind.
    pub async fn only(&self, code: &str) -> ExceptionRow {
        let [one] = <[ExceptionRow; 1]>::try_from(self.exceptions().await).unwrap();
        assert_eq!(one.code, code);
        one
    }

    pub async fn propose(&self, id: Id<Exception>, decision: Decision) -> Asked<ExceptionRow> {
        let request = ProposalRequest { decision, reason: "letter of the operator".to_owned(), evidence: None };
        self.world.engine.propose(&self.world.maker, id, &request).await
    }

    pub async fn confirm(&self, id: Id<Exception>) -> Asked<ExceptionRow> {
        self.world.engine.confirm(&self.world.checker, id).await
    }

    pub async fn decide(&self, id: Id<Exception>, decision: Decision) {
        self.propose(id, decision).await.unwrap();
        let closed = self.confirm(id).await.unwrap();
        assert_eq!(closed.handling.closed_at, Some(self.world.engine.clock.now()));
        self.world.verified().await;
    }

    /// Balances that are not zero, by account; `available` as what is missing of the funding.
    pub async fn balances(&self) -> BTreeMap<&'static str, i64> {
        let mut tx = self.world.engine.store.read().await.unwrap();
        let balances = ledger::balances(&mut tx, self.payroll.programme).await.unwrap();
        let named = balances.into_iter().map(|(account, sum)| match account.name() {
            "available" => ("spent", FUNDED - sum),
            "funding" => ("lent", -sum - FUNDED),
            name => (name, sum),
        });
        named.filter(|(_, sum)| *sum != 0).collect()
    }

    /// Sends what is due and lets the registry be told of everything.
    pub async fn steps(&self) {
        for _ in 0..6 {
            self.world.step().await;
            self.world.pass_seconds(1);
        }
    }

    /// What the registry was last told of a payment; empty for nothing.
    pub fn told(&self, number: i64) -> String {
        let reference = self.world.engine.reference(number);
        let told = self.world.sandbox.outcomes().into_iter().find(|one| one.instruction == reference.as_str());
        told.map(|one| one.status).unwrap_or_default()
    }

    /// Kind of the evidence that ends a payment, and its bytes.
    pub async fn end_of(&self, number: i64) -> (String, String) {
        let shown = self.world.engine.disbursement(&self.world.maker.scope, number).await.unwrap().shown;
        let (id, _): (Id<Evidence>, i64) = shown.evidence.unwrap();
        let (row, bytes) = self.world.engine.evidence(&self.world.maker.scope, id).await.unwrap();
        (row.kind, String::from_utf8(bytes).unwrap())
    }

    /// Settled, rejected and returned of the payroll, in minor units.
    pub async fn ended(&self) -> [i64; 3] {
        let status = self.world.engine.payroll_status(&self.world.maker.scope, self.payroll.id).await.unwrap();
        let one = &status.providers[0];
        [one.settled.sum_minor, one.rejected.sum_minor, one.returned.sum_minor]
    }

    pub fn third(&self) -> Actor {
        Actor { scope: self.world.maker.scope, person: "chipo".to_owned() }
    }
}

/// The code of a refusal.
pub fn code<T>(outcome: Asked<T>) -> &'static str {
    match outcome {
        Err(Error::Refused(refused)) => refused.code,
        Err(Error::Failed(error)) => panic!("{error:#}"),
        Ok(_) => "",
    }
}

//! Attacks on the promises: providers that contradict themselves, crashes between two units of work, clocks that
//! jump. The connector here says what a test makes it say; what it was asked to send is written down.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Batch as BatchId, Id, Payroll};
use paymaster::store::notes::{self, CallbackRow};
use paymaster::store::payroll::PayrollRow;
use paymaster::store::seal::sha256;
use paymaster::values;
use paymaster_connectors::contract::{
    Batch, Callback, CallbackTrust, Connector, Dedupe, Failure, Finality, Gate, Inquiry, Message, Outcome, Profile,
    Reason, ReasonClass, Received, Reference, Report, Said, Source,
};

use crate::on_both;
use crate::world::{World, csv, totals};

const A: &str = "mobile:+254700000001@mobile-op";
const B: &str = "mobile:+254700000002@mobile-op";
const FENCE_SECONDS: i64 = 100;

type Answer = Box<dyn Fn(&Batch) -> (Vec<Report>, Result<(), Failure>) + Send + Sync>;
type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the provider will say, and what it was sent.
struct Script {
    profile: Profile,
    submits: Mutex<VecDeque<Answer>>,
    inquiries: Mutex<VecDeque<Answer>>,
    /// Happens during the next submission, before the gate is asked.
    meanwhile: Mutex<Option<Meanwhile>>,
    sent: Mutex<Vec<Vec<Reference>>>,
    refused_by_gate: Mutex<usize>,
}

struct Odd(Arc<Script>);

#[async_trait]
impl Connector for Odd {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn encode(&self, _batch: &Batch) -> Result<Vec<u8>, Failure> {
        Ok(b"wire".to_vec())
    }

    async fn submit(&self, batch: &Batch, _wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        let meanwhile = self.0.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        if let Err(failure) = gate.pass(1).await {
            *self.0.refused_by_gate.lock().unwrap() += 1;
            return Err(failure);
        }
        self.0.sent.lock().unwrap().push(batch.instructions.iter().map(|one| one.reference).collect());
        answer(&self.0.submits, batch, Source::Reply, said).await
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        answer(&self.0.inquiries, batch, Source::Inquiry, said).await
    }

    /// `settled REFERENCE` or `returned REFERENCE`, and anything after it.
    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        let text = String::from_utf8(call.body.to_vec()).unwrap();
        let mut words = text.split(' ');
        let outcome = match words.next() {
            Some("settled") => Outcome::Settled,
            _ => Outcome::Returned(Reason::new(ReasonClass::FixAtBank, "closed", "account closed")),
        };
        let reference = Reference::parse(words.next().unwrap()).unwrap();
        Ok(Received { reports: vec![Report::instruction(reference, outcome)], ask: vec![] })
    }
}

async fn answer(
    queue: &Mutex<VecDeque<Answer>>,
    batch: &Batch,
    source: Source,
    said: &mut dyn Said,
) -> Result<(), Failure> {
    let next = queue.lock().unwrap().pop_front();
    let Some(next) = next else { return Ok(()) };
    let (reports, done) = next(batch);
    if !reports.is_empty() {
        said.say(Message { source, origin: "test".to_owned(), bytes: "{}".into() }, reports).await.unwrap();
    }
    done
}

/// The same outcome for every row.
fn all(outcome: Outcome) -> Answer {
    Box::new(move |batch| {
        (batch.instructions.iter().map(|one| Report::instruction(one.reference, outcome.clone())).collect(), Ok(()))
    })
}

fn unavailable() -> Answer {
    let reason = || Reason::new(ReasonClass::NotExecuted, "http_429", "later");
    Box::new(move |_| (vec![], Err(Failure::Unavailable { reason: reason(), retry_after_seconds: None })))
}

fn silence() -> Answer {
    Box::new(|_| (vec![], Ok(())))
}

fn not_sent() -> Outcome {
    Outcome::NotSent(Reason::new(ReasonClass::NotExecuted, "paused", ""))
}

/// No second copy ever, believed callbacks, and absence that counts from the fence on.
fn plain() -> Profile {
    Profile {
        fence: Duration::from_secs(100),
        absent_after: Duration::ZERO,
        inquiry: Inquiry::Direct,
        callback_trust: CallbackTrust::SecretUrl,
        finality: Finality::Reply,
        inquire_every: Duration::from_secs(1),
        inquire_every_max: Duration::from_secs(1),
        ..Profile::worst()
    }
}

/// Executes a reference once.
fn deduplicating() -> Profile {
    Profile { dedupe: Dedupe::ByKey, dedupe_window: Duration::from_secs(86_400), ..plain() }
}

struct Stage {
    world: World,
    script: Arc<Script>,
    payroll: PayrollRow,
}

impl Stage {
    /// Two rows, E1 of 10.00 and E2 of 20.00, released; nothing is sent yet.
    async fn new(database: crate::world::Database, profile: Profile) -> Self {
        let mut world = World::new(database).await;
        let script = Arc::new(Script {
            profile,
            submits: Mutex::default(),
            inquiries: Mutex::default(),
            meanwhile: Mutex::default(),
            sent: Mutex::default(),
            refused_by_gate: Mutex::default(),
        });
        Arc::get_mut(&mut world.engine).unwrap().providers[0].connector = Arc::new(Odd(script.clone()));
        let payroll = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B)]).await;
        world.release(payroll.id).await;
        Self { world, script, payroll }
    }

    fn submits(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.submits.lock().unwrap().extend(answers);
    }

    fn inquiries(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.inquiries.lock().unwrap().extend(answers);
    }

    fn meanwhile(&self, what: impl Future<Output = ()> + Send + 'static) {
        *self.script.meanwhile.lock().unwrap() = Some(Box::pin(what));
    }

    fn sent(&self) -> Vec<Vec<Reference>> {
        self.script.sent.lock().unwrap().clone()
    }

    async fn reference(&self, entitlement: &str) -> Reference {
        let rows =
            self.world.engine.disbursements(&self.world.maker.scope, self.payroll.id, &[], (0, 10)).await.unwrap();
        let row = rows.into_iter().find(|row| row.entitlement == entitlement).unwrap();
        self.world.engine.reference(row.shown.number)
    }

    async fn states(&self) -> [State; 2] {
        let states = self.world.states(self.payroll.id).await;
        [states["E1"].0, states["E2"].0]
    }

    async fn batch(&self) -> Id<BatchId> {
        self.world.engine.batches(&self.world.maker.scope, self.payroll.id, 0, 10).await.unwrap()[0].id
    }

    async fn steps(&self, seconds: usize) {
        for _ in 0..seconds {
            self.world.step().await;
            self.world.pass_seconds(1);
        }
    }

    async fn hear(&self, text: String) {
        let call = Callback { headers: vec![], body: text.into() };
        self.world.engine.hear("mobile-op", "s3cret", &call).await.unwrap();
    }

    async fn exceptions(&self) -> Vec<String> {
        let found = self.world.engine.exceptions(&self.world.maker.scope, 0, 100).await.unwrap();
        found.into_iter().map(|one| one.code).collect()
    }

    /// What the registry was told of a payment, in order.
    async fn told(&self, reference: Reference) -> Vec<String> {
        let all = self.world.sandbox.outcomes().into_iter();
        all.filter(|one| one.instruction == reference.as_str()).map(|one| one.status).collect()
    }
}

on_both! {
    /// A send that takes ten minutes: its last copy is young when it ends, and absence proves nothing yet.
    async fn the_fence_runs_from_the_last_write(database) {
        let stage = Stage::new(database, plain()).await;
        let clock = stage.world.clock();
        stage.meanwhile(async move { clock(600) });
        stage.inquiries((0..300).map(|_| all(Outcome::Absent)));
        stage.steps(FENCE_SECONDS as usize - 5).await;
        assert_eq!(stage.states().await, [State::InDoubt; 2], "a copy may still travel");
        stage.steps(20).await;
        assert_eq!(stage.states().await, [State::Rejected; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// A worker that vanished may have written until its lease ended; only from then on does the fence run.
    async fn the_fence_of_a_vanished_worker_runs_from_the_end_of_its_lease(database) {
        let stage = Stage::new(database, plain()).await;
        stage.inquiries((0..300).map(|_| all(Outcome::Absent)));
        let (engine, id) = (stage.world.engine.clone(), stage.batch().await);
        let (writing, began) = tokio::sync::oneshot::channel::<()>();
        stage.meanwhile(async move { writing.send(()).unwrap(); std::future::pending().await });
        let worker = tokio::spawn(async move { engine.drive(id).await });
        began.await.unwrap();
        worker.abort();
        assert!(worker.await.unwrap_err().is_cancelled());
        stage.world.pass_seconds(121);
        stage.steps(FENCE_SECONDS as usize - 5).await;
        assert_eq!(stage.states().await, [State::InDoubt; 2], "a copy may still travel");
        stage.steps(20).await;
        assert_eq!(stage.states().await, [State::Rejected; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// The second copy was never begun: the third still goes, and not as an empty message for ever.
    async fn a_resend_that_was_not_begun_is_tried_again(database) {
        let profile = Profile { absent_after: Duration::from_secs(80_000), ..deduplicating() };
        let stage = Stage::new(database, profile).await;
        stage.submits([silence(), all(not_sent()), all(Outcome::Settled)]);
        stage.inquiries((0..3).map(|_| all(Outcome::Absent)));
        stage.steps(20).await;
        assert_eq!(stage.sent().iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(stage.states().await, [State::Settled; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// "I took nothing", and then "it is paid": whoever says both is not sent the same again before a person looked.
    async fn what_is_said_to_be_paid_is_not_sent(database) {
        let stage = Stage::new(database, plain()).await;
        stage.submits([unavailable()]);
        stage.world.step().await;
        assert_eq!(stage.sent().len(), 1);
        stage.hear(format!("settled {}", stage.reference("E1").await)).await;
        stage.steps(600).await;
        assert_eq!(stage.sent().len(), 1, "E1 may have been paid by the first copy");
        assert_eq!(stage.exceptions().await, ["never_sent"]);
        stage.world.verified().await;
    }
}

on_both! {
    /// The same the other way around: paid by a call while the send is under way, and then "I took nothing".
    async fn a_failure_is_not_believed_over_a_payment(database) {
        let stage = Stage::new(database, plain()).await;
        let (engine, text) = (stage.world.engine.clone(), format!("settled {}", stage.reference("E1").await));
        stage.meanwhile(async move {
            engine.hear("mobile-op", "s3cret", &Callback { headers: vec![], body: text.into() }).await.unwrap();
        });
        stage.submits([unavailable()]);
        stage.inquiries([all(Outcome::Settled)]);
        stage.world.step().await;
        stage.world.verified().await;
        assert_eq!(stage.states().await, [State::Settled, State::InDoubt]);
        stage.world.complete(stage.payroll.id).await;
        assert_eq!(stage.sent().len(), 1);
        assert_eq!(stage.states().await, [State::Settled; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// Money that came back is told, whether it was told as paid before or came back first.
    async fn the_registry_learns_what_came_back(database) {
        let stage = Stage::new(database, plain()).await;
        let (first, second) = (stage.reference("E1").await, stage.reference("E2").await);
        stage.submits([all(Outcome::Accepted)]);
        stage.world.step().await;
        stage.hear(format!("settled {first}")).await;
        stage.hear(format!("returned {second}")).await;
        stage.steps(5).await;
        assert_eq!((stage.told(first).await, stage.told(second).await), (vec!["succ".to_owned()], vec!["rjct".to_owned()]));
        stage.hear(format!("returned {first}")).await;
        stage.hear(format!("returned {first} once more")).await;
        stage.world.complete(stage.payroll.id).await;
        stage.steps(5).await;
        assert_eq!(stage.told(first).await.last().unwrap(), "rjct");
        assert_eq!(stage.states().await, [State::Returned; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// A crash after a call was kept and before it was applied: the provider's repeat applies it.
    async fn a_call_that_was_kept_and_not_applied_is_applied_by_its_repeat(database) {
        let stage = Stage::new(database, plain()).await;
        stage.submits([all(Outcome::Accepted)]);
        stage.world.step().await;
        let (store, text) = (&stage.world.engine.store, format!("settled {}", stage.reference("E1").await));
        let (number, hash, sealed) = (store.allot(1, 0).await.unwrap(), sha256(text.as_bytes()), store.keys.seal(text.as_bytes()));
        let row = CallbackRow { number, provider: "mobile-op", sha256: &hash, sealed: &sealed, verdict: "heard" };
        let mut tx = store.begin().await.unwrap();
        assert!(notes::keep_callback(&mut tx, &row, 0).await.unwrap());
        tx.commit().await.unwrap();
        stage.hear(text.clone()).await;
        assert_eq!(stage.states().await, [State::Settled, State::Accepted]);
        stage.hear(text).await;
        assert_eq!(stage.exceptions().await, Vec::<String>::new());
        stage.world.verified().await;
    }
}

on_both! {
    /// What broke on our side comes in again under the key it came with.
    async fn a_key_outlives_an_intake_that_died(database) {
        let world = World::new(database).await;
        let rows = [("E1", "10.00", A)];
        let mut request = world.request(csv(&rows).as_bytes(), totals(&rows));
        request.idempotency_key = Some("november".to_owned());
        let first: Id<Payroll> = world.engine.take_in(&world.maker, &request).await.unwrap().id;
        // As a crash in the middle leaves it.
        let mut tx = world.engine.store.begin().await.unwrap();
        tx.execute("UPDATE payroll SET state = 'receiving', alive_at = 0 WHERE number = $1", values![first.number()]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.engine.clear_abandoned().await.unwrap(), 1);
        let again = world.engine.take_in(&world.maker, &request).await.unwrap();
        assert_ne!(again.id, first);
        assert_eq!(again.accepted.payments, 1);
        assert_eq!(world.engine.take_in(&world.maker, &request).await.unwrap().id, again.id);
        world.verified().await;
    }
}

on_both! {
    /// A row that was changed in the database is not sent again, and what is on its way is still asked about.
    async fn a_changed_batch_that_left_is_still_asked_about(database) {
        let stage = Stage::new(database, deduplicating()).await;
        stage.submits([silence()]);
        stage.inquiries([all(Outcome::Absent), all(Outcome::Settled)]);
        stage.world.step().await;
        let mut tx = stage.world.engine.store.begin().await.unwrap();
        let sql = "UPDATE payee SET sealed = (SELECT sealed FROM payee WHERE line = 3) WHERE line = 2";
        assert_eq!(tx.execute(sql, values![]).await.unwrap(), 1);
        tx.commit().await.unwrap();
        stage.steps(10).await;
        assert_eq!(stage.sent().len(), 1);
        assert_eq!(stage.exceptions().await, ["content_changed"]);
        let (engine, scope) = (&stage.world.engine, &stage.world.maker.scope);
        let rows = engine.disbursements(scope, stage.payroll.id, &[], (0, 10)).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [State::Settled; 2]);
    }
}

on_both! {
    /// Two installations, one provider: a report on the other's payment of the same number is not ours.
    async fn a_report_on_another_installations_number_is_not_ours(database) {
        let stage = Stage::new(database, plain()).await;
        stage.submits([Box::new(|batch: &Batch| {
            let one = batch.instructions[0].reference;
            let other = Reference::new(one.number(), one.tag() ^ 1);
            (vec![Report::instruction(one, Outcome::Accepted), Report::instruction(other, Outcome::Settled)], Ok(()))
        }) as Answer]);
        stage.world.step().await;
        assert_eq!(stage.states().await, [State::Accepted, State::InDoubt]);
        assert_eq!(stage.exceptions().await, ["foreign_reference"]);
    }
}

on_both! {
    /// The clock is set forward, another worker takes the batch: the first must not write any more.
    async fn a_worker_whose_batch_was_taken_does_not_write(database) {
        let stage = Stage::new(database, plain()).await;
        let (clock, engine, id) = (stage.world.clock(), stage.world.engine.clone(), stage.batch().await);
        stage.inquiries([all(Outcome::Absent)]);
        stage.meanwhile(async move {
            clock(3_600);
            engine.drive(id).await.unwrap();
        });
        stage.world.step().await;
        assert_eq!((stage.sent().len(), *stage.script.refused_by_gate.lock().unwrap()), (0, 1));
        assert_eq!(stage.states().await, [State::InDoubt; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// Taken, and then not there: it has no end by itself, so that a person is told, once.
    async fn what_was_taken_and_vanished_is_a_persons_task(database) {
        let stage = Stage::new(database, plain()).await;
        stage.submits([all(Outcome::Accepted)]);
        stage.inquiries((0..200).map(|_| all(Outcome::Absent)));
        stage.steps(FENCE_SECONDS as usize - 5).await;
        assert_eq!(stage.exceptions().await, Vec::<String>::new(), "it may not show yet");
        stage.steps(20).await;
        assert_eq!(stage.exceptions().await, ["accepted_then_absent", "accepted_then_absent"]);
        assert_eq!(stage.states().await, [State::Accepted; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    /// "I don't have it" was true when it was asked, and took its time: a copy that came meanwhile may be paid.
    async fn an_answer_that_took_its_time_is_as_old_as_its_question(database) {
        let stage = Stage::new(database, plain()).await;
        let clock = stage.world.clock();
        let slow: Answer = Box::new(move |batch| {
            clock(FENCE_SECONDS);
            all(Outcome::Absent)(batch)
        });
        stage.inquiries([slow]);
        stage.steps(4).await;
        assert_eq!(stage.states().await, [State::InDoubt; 2], "a copy may have arrived after the question");
        stage.inquiries([all(Outcome::Settled)]);
        stage.steps(10).await;
        assert_eq!((stage.states().await, stage.exceptions().await), ([State::Settled; 2], vec![]));
        stage.world.verified().await;
    }
}

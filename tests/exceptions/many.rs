//! Sets of exceptions: two thousand decided by two calls, what is left out and told, what is about no payment, and the
//! queue by kind, provider, owner and age.

use std::collections::BTreeMap;

use paymaster::domain::exception::{Decision, Owner};
use paymaster::domain::id::{Evidence, Id};
use paymaster::engine::{Actor, ManyOutcome, ProposalRequest};
use paymaster::store::notes::{self, ExceptionRow, Handling};
use paymaster::store::queue::Filter;
use paymaster::store::seal::sha256;

use super::stage::{FENCE_SECONDS, Mood};
use super::*;
use crate::world::Database;

const CODE: &str = "settled_after_rejected";

fn of(code: &str) -> Filter {
    Filter { codes: vec![code.to_owned()], ..Filter::default() }
}

fn only(ids: &[i64]) -> Filter {
    Filter { ids: ids.to_vec(), ..Filter::default() }
}

/// How many were left out, by code.
fn left_out(outcome: &ManyOutcome) -> Vec<(&'static str, usize)> {
    outcome.refused.iter().map(|one| (one.code, one.count)).collect()
}

impl Stage {
    async fn propose_many(&self, filter: &Filter, decision: Decision) -> ManyOutcome {
        let request = ProposalRequest { decision, reason: "their statement of today".to_owned(), evidence: None };
        self.world.engine.propose_many(&self.world.maker, filter, &request).await.unwrap()
    }

    async fn confirm_many(&self, filter: &Filter, decision: Decision) -> ManyOutcome {
        self.world.engine.confirm_many(&self.world.checker, filter, decision).await.unwrap()
    }

    /// Every payment of the payroll, by number.
    async fn all(&self) -> BTreeMap<i64, State> {
        let (scope, id) = (&self.world.maker.scope, self.payroll.id);
        let rows = self.world.engine.disbursements(scope, id, &[], (0, 20_000)).await.unwrap();
        rows.into_iter().map(|row| (row.shown.number, row.state)).collect()
    }

    /// How many payments stand where.
    async fn counted(&self) -> BTreeMap<State, usize> {
        let mut counts = BTreeMap::new();
        for state in self.all().await.into_values() {
            *counts.entry(state).or_default() += 1;
        }
        counts
    }

    /// Decisions of persons, batch by batch of the payroll.
    async fn decisions(&self) -> Vec<Vec<Id<Evidence>>> {
        let (scope, id) = (&self.world.maker.scope, self.payroll.id);
        let mut all = Vec::new();
        for batch in self.world.engine.batches(scope, id, 0, 100).await.unwrap() {
            let (_, evidence) = self.world.engine.batch(scope, batch.id).await.unwrap();
            let decisions = evidence.into_iter().filter(|one| one.kind == "decision");
            all.push(decisions.map(|one| one.id).collect());
        }
        all
    }

    async fn words(&self, id: Id<Evidence>) -> serde_json::Value {
        let (_, bytes) = self.world.engine.evidence(&self.world.maker.scope, id).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Opens exceptions of a kind about things that are no payments.
    async fn alarm(&self, code: &str, subjects: &[i64]) -> Vec<i64> {
        let store = &self.world.engine.store;
        let mut opened = Vec::new();
        for subject in subjects {
            let exception = ExceptionRow {
                id: Id::new(store.allot(1, self.world.engine.clock.now()).await.unwrap()),
                programme: self.payroll.programme,
                code: code.to_owned(),
                subject: *subject,
                provider: "mobile-op".to_owned(),
                evidence: 0,
                detail: "page 2 of 3 is missing".to_owned(),
                opened_at: self.world.engine.clock.now(),
                handling: Handling::default(),
            };
            let mut tx = store.begin().await.unwrap();
            assert!(notes::open_exception(&mut tx, self.world.maker.scope.tenant, &exception).await.unwrap());
            tx.commit().await.unwrap();
            opened.push(exception.id.number());
        }
        opened
    }
}

/// So many payments of which the provider says that they were rejected, and then that they were paid.
async fn contradicted(database: Database, count: usize) -> (Stage, Vec<i64>) {
    let stage = Stage::many(database, count).await;
    let numbers: Vec<i64> = stage.all().await.into_keys().collect();
    stage.hear_all("rejected", &numbers).await;
    stage.hear_all("settled", &numbers).await;
    let sum = 1_000 * count as i64;
    assert_eq!(stage.balances().await, BTreeMap::from([("spent", sum), ("suspense", sum)]));
    (stage, numbers)
}

on_both! {
    async fn two_thousand_in_four_batches(database) {
        let (stage, numbers) = contradicted(database, 2_000).await;
        let maker = &stage.world.maker;
        let proposed = stage.propose_many(&of(CODE), Decision::Settled).await;
        assert_eq!((proposed.done, proposed.refused.len(), proposed.more), (2_000, 0, false));
        let again = stage.propose_many(&of(CODE), Decision::Stands).await;
        assert_eq!((again.done, left_out(&again)), (0, vec![("already_proposed", 2_000)]));
        assert_eq!(again.refused[0].examples.len(), 20);
        let own = stage.world.engine.confirm_many(maker, &of(CODE), Decision::Settled).await.unwrap();
        assert_eq!((own.done, left_out(&own)), (0, vec![("same_person", 2_000)]));
        let other = stage.confirm_many(&of(CODE), Decision::Stands).await;
        assert_eq!((other.done, left_out(&other)), (0, vec![("other_decision", 2_000)]));
        assert_eq!(stage.counted().await, BTreeMap::from([(State::Rejected, 2_000)]), "nothing has moved");

        // Three of them come back meanwhile, and that is decided alone.
        let back = [numbers[0], numbers[1], numbers[700]];
        stage.hear_all("returned as=R1", &back).await;
        let filter = of("returned_after_rejected");
        for task in stage.world.engine.exceptions_of(&maker.scope, &filter, 0, 100).await.unwrap() {
            stage.decide(task.id, Decision::Returned).await;
        }
        let confirmed = stage.confirm_many(&of(CODE), Decision::Settled).await;
        assert_eq!((confirmed.done, left_out(&confirmed)), (1_997, vec![("changed_since", 3)]));
        assert_eq!(stage.counted().await, BTreeMap::from([(State::Settled, 1_997), (State::Returned, 3)]));
        let balances = BTreeMap::from([("spent", 2_000_000), ("paid", 1_997_000), ("suspense", 3_000)]);
        assert_eq!(stage.balances().await, balances);
        stage.world.verified().await;
        let decisions = stage.decisions().await;
        assert_eq!(decisions.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 1, 1], "one of a batch, and the three");

        let left: Vec<ExceptionRow> = stage.exceptions().await;
        assert_eq!(left.iter().map(|task| task.subject).collect::<Vec<_>>(), back);
        let examples: Vec<_> = left.iter().map(|task| task.id).collect();
        assert_eq!(confirmed.refused[0].examples, examples);
        let ids = only(&examples.iter().map(|id| id.number()).collect::<Vec<_>>());
        assert_eq!(stage.world.engine.withdraw_many(maker, &ids).await.unwrap().done, 3);
        assert_eq!(stage.propose_many(&ids, Decision::Stands).await.done, 3);
        assert_eq!(stage.confirm_many(&ids, Decision::Stands).await.done, 3);
        let balances = BTreeMap::from([("spent", 2_000_000), ("paid", 1_997_000), ("returned", 3_000)]);
        assert_eq!(stage.balances().await, balances);
        stage.steps().await;
        let told = stage.world.sandbox.outcomes();
        assert_eq!(told.iter().filter(|one| one.status == "succ").count(), 1_997);
        stage.world.verified().await;
    }
}

/// One more than a call takes: each call says that there is more, and the next one goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_and_one_in_two_calls() {
    let (stage, _) = contradicted(Database::Sqlite, 10_001).await;
    for (done, more) in [(10_000, true), (1, true)] {
        let outcome = stage.propose_many(&of(CODE), Decision::Settled).await;
        assert_eq!((outcome.done, outcome.more), (done, more));
    }
    for (done, more) in [(10_000, true), (1, false)] {
        let outcome = stage.confirm_many(&of(CODE), Decision::Settled).await;
        assert_eq!((outcome.done, outcome.refused.len(), outcome.more), (done, 0, more));
    }
    assert_eq!(stage.balances().await, BTreeMap::from([("spent", 10_001_000), ("paid", 10_001_000)]));
    // One of each batch: twenty are full, and the last payment is alone in its own.
    assert_eq!(stage.decisions().await.iter().map(Vec::len).sum::<usize>(), 21);
    stage.world.verified().await;
}

on_both! {
    /// The evidence names the first hundred, counts all, and proves which they were.
    async fn one_evidence_of_a_batch_names_them_all(database) {
        let (stage, _) = contradicted(database, 150).await;
        let ids: Vec<String> = stage.world.engine.exceptions(&stage.world.maker.scope, 0, 500).await.unwrap()
            .iter().map(|task| format!("{}\n", task.id)).collect();
        stage.propose_many(&of(CODE), Decision::Settled).await;
        stage.confirm_many(&of(CODE), Decision::Settled).await;
        let [decision] = stage.decisions().await.remove(0).try_into().unwrap();
        let words = stage.words(decision).await;
        assert_eq!((&words["exceptions"], &words["disbursements"]), (&150.into(), &150.into()));
        assert_eq!(words["exceptions_named"].as_array().unwrap().len(), 100);
        assert_eq!(words["named"].as_array().unwrap().len(), 100);
        let hash: String = sha256(ids.concat().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(words["exceptions_sha256"], hash);
        for (field, wanted) in [("proposed_by", "amina"), ("confirmed_by", "bruno"), ("decision", "settled")] {
            assert_eq!(words[field], wanted);
        }
        assert_eq!(words["reason"], "their statement of today");
        stage.world.verified().await;
    }
}

on_both! {
    /// Each group has one proposer and one reason: what two makers propose is two pieces of evidence.
    async fn proposals_of_two_makers_are_two_decisions(database) {
        let (stage, _) = contradicted(database, 10).await;
        let ids: Vec<i64> = stage.exceptions().await.iter().map(|task| task.id.number()).collect();
        assert_eq!(stage.propose_many(&only(&ids[..5]), Decision::Settled).await.done, 5);
        let request = ProposalRequest { decision: Decision::Settled, reason: "so they say".to_owned(), evidence: None };
        let third = stage.third();
        let all = stage.world.engine.propose_many(&third, &of(CODE), &request).await.unwrap();
        assert_eq!((all.done, left_out(&all)), (5, vec![("already_proposed", 5)]));
        let mixed = stage.world.engine.confirm_many(&third, &of(CODE), Decision::Settled).await.unwrap();
        assert_eq!((mixed.done, left_out(&mixed)), (5, vec![("same_person", 5)]));
        assert_eq!(stage.confirm_many(&of(CODE), Decision::Settled).await.done, 5);
        assert_eq!(stage.decisions().await[0].len(), 2);
        assert_eq!(stage.balances().await["paid"], 10_000);
        stage.world.verified().await;
    }
}

on_both! {
    /// Two checkers at once: each exception is decided once, and both learn what became of theirs.
    async fn two_checkers_of_one_set(database) {
        let (stage, _) = contradicted(database, 600).await;
        stage.propose_many(&of(CODE), Decision::Settled).await;
        let (third, filter) = (stage.third(), of(CODE));
        let (one, other) = tokio::join!(
            stage.confirm_many(&filter, Decision::Settled),
            stage.world.engine.confirm_many(&third, &filter, Decision::Settled),
        );
        let other = other.unwrap();
        assert_eq!(one.done + other.done, 600);
        for outcome in [&one, &other] {
            assert!(left_out(outcome).iter().all(|(code, _)| *code == "exception_closed"), "{outcome:?}");
        }
        assert_eq!(stage.balances().await, BTreeMap::from([("spent", 600_000), ("paid", 600_000)]));
        stage.world.verified().await;
    }
}

on_both! {
    /// Nothing of a set is rejected while a copy may arrive, and all of it is told why.
    async fn doubts_wait_for_the_fence(database) {
        let stage = Stage::waiting(database, Mood::SaysNothing).await;
        stage.world.step().await;
        let engine = &stage.world.engine;
        assert_eq!(engine.overdue(engine.clock.now() + 72 * 3_600_000_000).await.unwrap(), 2);
        let filter = Filter { owner: Some(Owner::Bank), ..Filter::default() };
        assert_eq!(stage.propose_many(&filter, Decision::Rejected).await.done, 2);
        let early = stage.confirm_many(&filter, Decision::Rejected).await;
        assert_eq!((early.done, left_out(&early)), (0, vec![("fence_not_passed", 2)]));
        assert_eq!(stage.states().await, [State::InDoubt; 2]);
        stage.world.pass_seconds(FENCE_SECONDS);
        assert_eq!(stage.confirm_many(&filter, Decision::Rejected).await.done, 2);
        assert_eq!(stage.states().await, [State::Rejected; 2]);
        assert_eq!(stage.balances().await, BTreeMap::new());
        assert_eq!(stage.decisions().await[0].len(), 1);
        let row = stage.row_of(stage.payroll.id, "E2").await;
        assert!(row.reason_text.unwrap().starts_with("decided by two persons, exc_"));
        stage.world.verified().await;
    }
}

on_both! {
    /// A file or a statement is no payment: it stands, by two persons, and that is evidence of its programme.
    async fn what_is_about_no_payment_stands(database) {
        let stage = Stage::new(database).await;
        let opened = stage.alarm("statement_gap", &[11, 12, 13]).await;
        let (one, many) = (opened[0], &opened[1..]);
        let task = stage.exceptions().await.remove(0);
        assert_eq!(task.id.number(), one);
        assert_eq!(code(stage.propose(task.id, Decision::Settled).await), "decision_impossible");
        stage.propose(task.id, Decision::Stands).await.unwrap();
        assert_eq!(code(stage.world.engine.confirm(&stage.world.maker, task.id).await), "same_person");
        stage.confirm(task.id).await.unwrap();
        assert_eq!(stage.propose_many(&of("statement_gap"), Decision::Stands).await.done, many.len());
        assert_eq!(stage.confirm_many(&of("statement_gap"), Decision::Stands).await.done, many.len());
        assert_eq!(stage.codes().await, Vec::<String>::new());
        let programme = stage.payroll.programme.number();
        let mut tx = stage.world.engine.store.read().await.unwrap();
        for (subject, exceptions) in [(11, 1), (programme, 2)] {
            let facts = notes::facts(&mut tx, &stage.world.maker.scope, subject, 100).await.unwrap();
            let closed: Vec<_> = facts.iter().filter(|fact| fact.event == "exception.closed").collect();
            assert_eq!((closed.len(), closed[0].actor.as_str()), (1, "bruno"));
            let words = stage.words(Id::new(closed[0].evidence.unwrap())).await;
            assert_eq!((&words["exceptions"], &words["code"]), (&exceptions.into(), &"statement_gap".into()));
            assert_eq!((&words["proposed_by"], &words["disbursements"]), (&"amina".into(), &0.into()));
        }
        drop(tx);
        assert_eq!(stage.states().await, [State::Accepted; 2]);
        stage.world.verified().await;
    }
}

on_both! {
    async fn the_queue_is_split_and_summed(database) {
        let (stage, numbers) = contradicted(database, 6).await;
        stage.world.pass_seconds(10);
        let later = stage.world.engine.clock.now();
        stage.alarm("file_unreadable", &[21, 22]).await;
        stage.alarm("something new", &[23]).await;
        stage.alarm("unknown_debit", &[24]).await;
        stage.propose_many(&of("file_unreadable"), Decision::Stands).await;
        let engine = &stage.world.engine;
        let scope = &stage.world.maker.scope;
        let count = async |filter: Filter| engine.exceptions_of(scope, &filter, 0, 100).await.unwrap().len();
        for (owner, wanted) in [(Owner::Bank, 6), (Owner::Finance, 1), (Owner::Operations, 3), (Owner::Registry, 0)] {
            assert_eq!(count(Filter { owner: Some(owner), ..Filter::default() }).await, wanted, "{owner:?}");
        }
        assert_eq!(count(Filter { payroll: Some(stage.payroll.id), ..Filter::default() }).await, 6);
        assert_eq!(count(Filter { payroll: Some(Id::new(7)), ..Filter::default() }).await, 0);
        assert_eq!(count(Filter { programme: Some(stage.payroll.programme), ..Filter::default() }).await, 10);
        assert_eq!(count(Filter { provider: Some("mobile-op".to_owned()), ..Filter::default() }).await, 10);
        assert_eq!(count(Filter { provider: Some("bank".to_owned()), ..Filter::default() }).await, 0);
        assert_eq!(count(Filter { opened_before: Some(later), ..Filter::default() }).await, 6);
        let codes = vec![CODE.to_owned(), "unknown_debit".to_owned()];
        assert_eq!(count(Filter { codes, owner: Some(Owner::Finance), ..Filter::default() }).await, 1);
        let lines = engine.exceptions_summary(scope).await.unwrap();
        let sums: Vec<_> = lines.iter().map(|line| (line.code.as_str(), line.open, line.proposed)).collect();
        let wanted = [("file_unreadable", 2, 2), (CODE, 6, 0), ("something new", 1, 0), ("unknown_debit", 1, 0)];
        assert_eq!(sums, wanted);
        assert!(lines.iter().all(|line| (line.oldest_at < later) == (line.code == CODE)), "{lines:?}");
        assert_eq!(stage.all().await.into_keys().collect::<Vec<_>>(), numbers);
    }
}

on_both! {
    /// A set is named; what is asked for by id and cannot be had is told; another tenant's does not exist.
    async fn a_set_is_named_and_what_is_missing_is_told(database) {
        let (stage, _) = contradicted(database, 3).await;
        let engine = &stage.world.engine;
        let request = ProposalRequest { decision: Decision::Stands, reason: "as it is".to_owned(), evidence: None };
        let maker = &stage.world.maker;
        assert_eq!(code(engine.propose_many(maker, &Filter::default(), &request).await), "filter_missing");
        assert_eq!(code(engine.withdraw_many(maker, &Filter::default()).await), "filter_missing");
        let long = Filter { ids: vec![1; 10_001], ..Filter::default() };
        assert_eq!(code(engine.propose_many(maker, &long, &request).await), "filter_too_long");
        let silent = ProposalRequest { reason: " ".to_owned(), ..request.clone() };
        assert_eq!(code(engine.propose_many(maker, &of(CODE), &silent).await), "reason_missing");
        let tasks = stage.exceptions().await;
        stage.decide(tasks[0].id, Decision::Stands).await;
        let ids: Vec<i64> = tasks.iter().map(|task| task.id.number()).chain([7, 7]).collect();
        let some = Filter { codes: vec![CODE.to_owned()], ..only(&ids) };
        let outcome = engine.propose_many(maker, &some, &request).await.unwrap();
        assert_eq!((outcome.done, left_out(&outcome)), (2, vec![("exception_closed", 1), ("exception_unknown", 1)]));
        let other = Filter { codes: vec!["overpaid".to_owned()], ..only(&ids[1..3]) };
        let outcome = engine.withdraw_many(maker, &other).await.unwrap();
        assert_eq!((outcome.done, left_out(&outcome)), (0, vec![("filter_mismatch", 2)]));
        let outcome = stage.confirm_many(&of("overpaid"), Decision::Stands).await;
        assert_eq!(outcome, ManyOutcome::default());
        let stranger = Actor { scope: engine.tenant("theirs").await.unwrap(), person: "zoe".to_owned() };
        let outcome = engine.confirm_many(&stranger, &some, Decision::Stands).await.unwrap();
        assert_eq!((outcome.done, left_out(&outcome)), (0, vec![("exception_unknown", 4)]));
        assert_eq!(engine.withdraw_many(maker, &some).await.unwrap().done, 2);
        let outcome = stage.confirm_many(&of(CODE), Decision::Stands).await;
        assert_eq!((outcome.done, left_out(&outcome)), (0, vec![("nothing_proposed", 2)]));
        assert_eq!(stage.balances().await["suspense"], 2_000);
        stage.world.verified().await;
    }
}

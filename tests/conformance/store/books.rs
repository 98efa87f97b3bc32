//! Our own tables on both databases: rows move as named or not at all, what must not be is refused, a tenant sees
//! its own, and evidence comes back as it went in.

use paymaster::domain::batch::BatchState;
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Batch, Cycle, Id, Payroll, Programme};
use paymaster::domain::payroll::{PayrollKind, PayrollState};
use paymaster::store::batch::{self, BatchRow};
use paymaster::store::disbursement::{self, Chunk, Ends};
use paymaster::store::evidence::{self, NewEvidence};
use paymaster::store::ledger::{self, Account, Entry};
use paymaster::store::party::{self, ProgrammeRow};
use paymaster::store::payroll::{self, PayrollRow, Total};
use paymaster::store::{Scope, notes};
use paymaster_connectors::contract::Currency;

use super::*;

/// A programme with 50.00 to spend, and a payroll of two sealed batches of two disbursements each.
struct Books {
    open: Open,
    scope: Scope,
    stranger: Scope,
    programme: Id<Programme>,
    payroll: Id<Payroll>,
    batches: [Id<Batch>; 2],
}

const KES: &str = "KES";
const NUMBERS: [i64; 4] = [11, 12, 13, 14];

impl Books {
    async fn new(kind: Database) -> Self {
        let open = Open::new(kind).await;
        let (programme, cycle, payroll) = (Id::new(3), Id::<Cycle>::new(4), Id::new(5));
        let batches = [Id::new(21), Id::new(22)];
        let mut tx = open.store.begin().await.unwrap();
        let scope = Scope { tenant: party::tenant(&mut tx, 1, "ours").await.unwrap() };
        let stranger = Scope { tenant: party::tenant(&mut tx, 2, "theirs").await.unwrap() };
        let [code, name, currency, intake_mode] = ["cash", "Cash", KES, "eject"].map(str::to_owned);
        let row = ProgrammeRow {
            id: programme,
            code,
            name,
            currency,
            intake_mode,
            amount_minor_max: None,
            shared_account_max: None,
        };
        party::save_programme(&mut tx, &scope, &row).await.unwrap();
        party::insert_cycle(&mut tx, cycle, programme, ("2026-11", "2026-11-01", "2026-11-30")).await.unwrap();
        payroll::insert(&mut tx, &payroll_row(payroll, &scope, (programme, cycle))).await.unwrap();
        disbursement::load(&mut tx, payroll, chunk()).await.unwrap();
        for (batch, first) in batches.into_iter().zip([11, 13]) {
            batch::insert(&mut tx, &batch_row(batch, payroll, programme, (first, first + 1))).await.unwrap();
        }
        ledger::post(&mut tx, 31, &entry(programme, (Account::Available, Account::Funding), 5_000), NOW).await.unwrap();
        tx.commit().await.unwrap();
        Self { open, scope, stranger, programme, payroll, batches }
    }
}

fn payroll_row(id: Id<Payroll>, scope: &Scope, of: (Id<Programme>, Id<Cycle>)) -> PayrollRow {
    PayrollRow {
        id,
        tenant: scope.tenant,
        programme: of.0,
        kind: PayrollKind::Payment,
        cycle: of.1,
        currency: Currency::parse(KES).unwrap(),
        state: PayrollState::Draft,
        file_hash: vec![0, 1, 0],
        content_hash: None,
        pay_on: None,
        declared: Total { payments: 4, sum_minor: 400 },
        file: Total::default(),
        refused: Total::default(),
        accepted: Total::default(),
        cancelled: Total::default(),
        numbers: (11, 14),
        refusal: None,
        made_by: "amina".to_owned(),
        submitted_by: None,
        created_at: NOW,
        released_at: None,
        completed_at: None,
        paused_at: None,
    }
}

fn chunk() -> Chunk {
    let mut chunk = Chunk {
        numbers: NUMBERS.to_vec(),
        batches: vec![21, 21, 22, 22],
        amounts: vec![100; 4],
        generations: vec![1; 4],
        states: vec![3; 4],
        identities: NUMBERS.map(|n| [n as u8; 16]).to_vec(),
        lines: vec![2, 3, 4, 5],
        account_hashes: vec![[0; 16]; 4],
        ..Chunk::default()
    };
    NUMBERS.iter().for_each(|n| chunk.payees.push(&[0, 0, *n as u8, 0]));
    chunk
}

fn batch_row(id: Id<Batch>, payroll: Id<Payroll>, programme: Id<Programme>, numbers: (i64, i64)) -> BatchRow {
    let total = Total { payments: 2, sum_minor: 200 };
    BatchRow {
        id,
        payroll,
        programme,
        provider: "mobile-op".to_owned(),
        currency: Currency::parse(KES).unwrap(),
        state: BatchState::Sealed,
        total,
        open: total,
        settled: Total::default(),
        rejected: Total::default(),
        returned: Total::default(),
        numbers,
        content_hash: vec![7; 32],
        epoch: 0,
        lease_until: 0,
        copies: 0,
        first_copy_at: 0,
        last_copy_at: 0,
        fence_at: 0,
        due_at: None,
        attempts: 0,
        publications: 0,
        provider_reference: None,
        wire: None,
        ask_first_at: None,
        made_at: 0,
        execute_on: None,
        wire_bytes: 0,
    }
}

fn entry(programme: Id<Programme>, accounts: (Account, Account), amount_minor: i64) -> Entry<'static> {
    let currency = Currency::parse(KES).unwrap();
    let (debit, credit) = accounts;
    Entry { programme, currency, provider: "", debit, credit, amount_minor, payroll: None, batch: None, evidence: None }
}

on_both! {
    /// Rows move only from where they are said to be, only in their batch, and all or none.
    async fn rows_move_as_named_or_not_at_all(database) {
        let books = Books::new(database).await;
        let store = &books.open.store;
        let [first, second] = books.batches;
        for (batch, numbers, from) in [(first, &[11, 13][..], State::Queued), (first, &[11, 12], State::Held), (second, &[13, 99], State::Queued)] {
            let mut tx = store.begin().await.unwrap();
            assert!(disbursement::set_state(&mut tx, batch, numbers, from, State::Held).await.is_err(), "{numbers:?}");
        }
        let evidence = Id::new(41);
        let mut tx = store.begin().await.unwrap();
        disbursement::set_state(&mut tx, second, &[14], State::Queued, State::Held).await.unwrap();
        let ends = Ends { numbers: &[12, 11], positions: &[70_000, 0], from: State::Queued, to: State::Settled, evidence };
        disbursement::end(&mut tx, first, &ends).await.unwrap();
        disbursement::set_batch(&mut tx, second, first, &[13]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        let rows = disbursement::page(&mut tx, (books.payroll, 14), &disbursement::Wanted::default(), 0, 10).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.number, row.batch, row.state, row.evidence, row.sealed.clone())).collect();
        let sealed = |n: i64| vec![0, 0, n as u8, 0];
        assert_eq!(found, [
            (11, first, State::Settled, Some((evidence, 0)), sealed(11)),
            (12, first, State::Settled, Some((evidence, 70_000)), sealed(12)),
            (13, first, State::Queued, None, sealed(13)),
            (14, second, State::Held, None, sealed(14)),
        ]);
        let known = disbursement::known(&mut tx, &[[14; 16], [99; 16], [11; 16]]).await.unwrap();
        let mut known: Vec<_> = known.into_iter().map(|one| (one.number, one.state, one.line)).collect();
        known.sort();
        assert_eq!(known, [(11, State::Settled, 2), (14, State::Held, 5)]);
        drop(tx);
        // The same identities again fail as a whole; with another generation they do not.
        let again = |generation| Chunk { numbers: vec![15, 16, 17, 18], generations: vec![1, 1, 1, generation], identities: vec![[50; 16], [51; 16], [52; 16], [14; 16]], ..chunk() };
        let mut tx = store.begin().await.unwrap();
        assert!(db::is_conflict(&disbursement::load(&mut tx, books.payroll, again(1)).await.unwrap_err()));
        drop(tx);
        assert_eq!(books.open.int("SELECT COUNT(*) FROM payee").await, 4);
        let mut tx = store.begin().await.unwrap();
        disbursement::load(&mut tx, books.payroll, again(2)).await.unwrap();
        assert_eq!(disbursement::known(&mut tx, &[[14; 16]]).await.unwrap()[0].number, 18, "the newest generation counts");
        assert_eq!(disbursement::delete(&mut tx, &[15, 16, 17, 18, 99]).await.unwrap(), 4);
        tx.commit().await.unwrap();
        assert_eq!(books.open.int("SELECT COUNT(*) FROM payee").await, 4);
    }
}

on_both! {
    async fn the_tables_refuse_what_must_not_be(database) {
        let books = Books::new(database).await;
        let open = &books.open;
        for state in [7, 8, 9, 10] {
            open.forbids("UPDATE disbursement SET state = $1 WHERE number = 11", values![state]).await;
        }
        open.forbids("UPDATE disbursement SET end_evidence = 1 WHERE number = 11", &[]).await;
        open.forbids("UPDATE disbursement SET amount_minor = 0 WHERE number = 11", &[]).await;
        open.forbids("UPDATE disbursement SET amount_minor = -100 WHERE number = 11", &[]).await;
        for change in ["open_payments = 1", "open_minor = 199", "settled_payments = 1", "payments = 3", "sum_minor = 201", "open_payments = -1, settled_payments = 3"] {
            open.forbids(&format!("UPDATE batch SET {change} WHERE number = 21"), &[]).await;
        }
        let mut tx = open.store.begin().await.unwrap();
        let mut batch = batch::lock(&mut tx, books.batches[0]).await.unwrap().unwrap();
        batch.open = Total { payments: 1, sum_minor: 100 };
        assert!(batch::save(&mut tx, &batch).await.is_err());
        drop(tx);
        batch.settled = batch.open;
        let mut tx = open.store.begin().await.unwrap();
        batch::save(&mut tx, &batch).await.unwrap();
        drop(tx);
        open.forbids("UPDATE funding_account SET available_minor = -1", &[]).await;
        open.forbids("UPDATE ledger_entry SET credit = debit", &[]).await;
        for (amount, accounts) in [(0, (Account::Available, Account::Funding)), (-1, (Account::Available, Account::Funding)), (1, (Account::Paid, Account::Paid)), (5_001, (Account::Reserved, Account::Available))] {
            let mut tx = open.store.begin().await.unwrap();
            assert!(ledger::post(&mut tx, 32, &entry(books.programme, accounts, amount), NOW).await.is_err(), "{amount} {accounts:?}");
        }
        open.forbids("UPDATE programme SET intake_mode = 'maybe'", &[]).await;
        open.forbids("UPDATE cycle SET last_day = '2026-10-31'", &[]).await;
        open.forbids("UPDATE batch SET payroll = 98 WHERE number = 21", &[]).await;
        let mut tx = open.store.begin().await.unwrap();
        ledger::post(&mut tx, 32, &entry(books.programme, (Account::Reserved, Account::Available), 5_000), NOW).await.unwrap();
        assert_eq!(ledger::available(&mut tx, books.programme).await.unwrap(), 0);
        let balances = ledger::balances(&mut tx, books.programme).await.unwrap();
        assert_eq!(balances.iter().filter(|(_, balance)| *balance != 0).map(|(account, balance)| (*account, *balance)).collect::<Vec<_>>(), [(Account::Funding, -5_000), (Account::Reserved, 5_000)]);
    }
}

on_both! {
    async fn what_belongs_to_another_tenant_does_not_exist(database) {
        let books = Books::new(database).await;
        let store = &books.open.store;
        let mut tx = store.begin().await.unwrap();
        let keys = &store.keys;
        let all = [NewEvidence { id: Id::new(41), kind: "message", source: "reply", origin: "", bytes: b"x" }];
        evidence::insert(&mut tx, keys, (books.programme, books.batches[0]), &all, NOW).await.unwrap();
        let fact = notes::Fact { event: "payroll.received", subject: books.payroll.number(), actor: "amina", ..notes::Fact::default() };
        notes::journal(&mut tx, 51, books.scope.tenant, &fact, NOW).await.unwrap();
        notes::keep_idempotency(&mut tx, &books.scope, "k", (&[1], books.payroll), NOW).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        for (scope, ours) in [(&books.scope, true), (&books.stranger, false)] {
            assert_eq!(payroll::get(&mut tx, scope, books.payroll).await.unwrap().is_some(), ours);
            assert_eq!(payroll::list(&mut tx, scope, i64::MAX, 10).await.unwrap().len(), usize::from(ours));
            assert_eq!(party::programme(&mut tx, scope, "cash").await.unwrap().is_some(), ours);
            assert_eq!(batch::get(&mut tx, scope, books.batches[0]).await.unwrap().is_some(), ours);
            assert_eq!(disbursement::get(&mut tx, scope, 11).await.unwrap().is_some(), ours);
            assert_eq!(evidence::get(&mut tx, keys, scope, Id::new(41)).await.unwrap().is_some(), ours);
            assert_eq!(notes::facts(&mut tx, scope, books.payroll.number(), 10).await.unwrap().len(), usize::from(ours));
            assert_eq!(notes::idempotency(&mut tx, scope, "k").await.unwrap().is_some(), ours);
        }
        drop(tx);
        // A key is a tenant's own: the other may keep the same, and nobody twice.
        for (scope, free) in [(&books.stranger, true), (&books.scope, false)] {
            let mut tx = store.begin().await.unwrap();
            let kept = notes::keep_idempotency(&mut tx, scope, "k", (&[2], books.payroll), NOW).await;
            assert_eq!(kept.is_ok(), free);
            assert!(free || db::is_conflict(&kept.unwrap_err()));
        }
    }
}

on_both! {
    async fn evidence_comes_back_byte_for_byte(database) {
        let books = Books::new(database).await;
        let store = &books.open.store;
        let bytes: Vec<Vec<u8>> = [0, 1, 511, 512, 100_000].into_iter().map(|length: usize| (0..length).map(|n| (n % 251) as u8).collect()).collect();
        let bytes: Vec<Vec<u8>> = bytes.into_iter().chain([vec![0; 1 << 20], b"\0\0PLAIN\0".to_vec(), "\u{1f33e}".into()]).collect();
        let all: Vec<NewEvidence<'_>> = (41..).zip(&bytes).map(|(number, bytes)| NewEvidence { id: Id::new(number), kind: "wire", source: "request", origin: "POST /x\t\u{1f33e}", bytes }).collect();
        let mut tx = store.begin().await.unwrap();
        evidence::insert(&mut tx, &store.keys, (books.programme, books.batches[1]), &all, NOW).await.unwrap();
        evidence::insert(&mut tx, &store.keys, (books.programme, books.batches[1]), &[], NOW).await.unwrap();
        tx.commit().await.unwrap();
        let again = Store::open(&books.open.url, false).await.unwrap();
        let mut tx = again.read().await.unwrap();
        let listed = evidence::of_batch(&mut tx, books.batches[1], 100).await.unwrap();
        assert_eq!(listed.len(), bytes.len());
        for (row, wanted) in listed.iter().zip(&bytes) {
            let (found, opened) = evidence::get(&mut tx, &again.keys, &books.scope, row.id).await.unwrap().unwrap();
            assert!(opened == *wanted, "{} bytes changed", wanted.len());
            assert_eq!(found.sha256, paymaster::store::seal::sha256(wanted));
            assert_eq!((found.kind.as_str(), found.origin.as_str(), found.at), ("wire", "POST /x\t\u{1f33e}", NOW));
            assert!(evidence::bytes(&mut tx, &again.keys, row.id.number()).await.unwrap() == *wanted);
        }
        drop(tx);
        let mut tx = store.begin().await.unwrap();
        assert!(db::is_conflict(&evidence::insert(&mut tx, &store.keys, (books.programme, books.batches[0]), &all[..1], NOW).await.unwrap_err()), "never changed");
    }
}

//! Chunks into the database: optimistically in bulk, and row by row judged only where an identity is known.

mod repeat;

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, bail};
use paymaster_connectors::contract::Money;

use super::parse::{CHUNK_ROWS, Parsed, ParsedRow, Parser, Payee};
use super::{FileRefused, IntakeRequest, keys};
use crate::domain::batch::BatchState;
use crate::domain::columns::write_cells;
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Id};
use crate::domain::identity::CycleScope;
use crate::domain::payroll::PayrollKind;
use crate::domain::row::Rules;
use crate::engine::submit::{ContentHasher, content_hash};
use crate::engine::{Actor, Engine};
use crate::store::batch::{self, BatchRow};
use crate::store::db;
use crate::store::disbursement::{self, Chunk, Known};
use crate::store::party::{self, ProgrammeRow};
use crate::store::payroll::{self, PayrollRow, Reject, Total};

/// Chunks that may wait while one is loaded.
const CHUNKS_WAITING: usize = 1;
/// How often a chunk is tried when others take in the same identities at the same time.
const CHUNK_TRIES: usize = 8;

/// A batch that is being filled, or is full.
struct Cut {
    id: Id<Batch>,
    provider: usize,
    total: Total,
    numbers: (i64, i64),
    hasher: Option<ContentHasher>,
    hash: Vec<u8>,
}

/// The state of one intake between chunks.
struct Loading<'a> {
    engine: &'a Engine,
    payroll: &'a mut PayrollRow,
    rejected: Total,
    cuts: Vec<Cut>,
    /// Position in `cuts` of the batch each provider's rows go into.
    open: HashMap<usize, usize>,
    /// Batches that lost a row after it was hashed.
    dirty: HashSet<i64>,
    /// Identities whose rows in this file disagree, each with the lines of two of them.
    conflicts: HashMap<[u8; 16], (i64, i64)>,
    /// Whether any row is a next generation.
    follows: bool,
}

impl Engine {
    /// Streams the file in. The answer says why the payroll is refused as a whole, if it is.
    pub(super) async fn stream(
        &self,
        actor: &Actor,
        request: &IntakeRequest,
        programme: &ProgrammeRow,
        row: &mut PayrollRow,
    ) -> Result<Option<FileRefused>> {
        let mut tx = self.store.read().await?;
        let tenant = party::tenant_code(&mut tx, &actor.scope).await?;
        let holds = party::holds(&mut tx, programme.id).await?.into_iter().collect();
        drop(tx);
        let parser = Parser {
            rules: Rules { currency: row.currency, amount_minor_max: programme.amount_minor_max },
            scope: CycleScope::new(&tenant, &programme.code, &request.cycle),
            keys: keys(self),
            routes: self.providers.iter().map(|provider| provider.routes.clone()).collect(),
            holds,
            all_or_nothing: programme.intake_mode == "all_or_nothing",
        };
        let all_or_nothing = parser.all_or_nothing;
        let file = std::fs::File::open(&request.file)?;
        let (sender, mut chunks) = tokio::sync::mpsc::channel(CHUNKS_WAITING);
        let parsing = tokio::task::spawn_blocking(move || parser.run(file, &sender));
        let mut loading = Loading {
            engine: self,
            payroll: row,
            rejected: Total::default(),
            cuts: Vec::new(),
            open: HashMap::new(),
            dirty: HashSet::new(),
            conflicts: HashMap::new(),
            follows: false,
        };
        while let Some(chunk) = chunks.recv().await {
            loading.chunk(chunk).await?;
            if let Some(refusal) = loading.too_many_conflicts() {
                loading.payroll.refused = loading.rejected;
                return Ok(Some(refusal));
            }
        }
        let (file_total, refusal) = parsing.await??;
        loading.payroll.file = file_total;
        loading.payroll.refused = loading.rejected;
        if refusal.is_some() {
            return Ok(refusal);
        }
        loading.finish(programme, all_or_nothing).await
    }
}

impl Loading<'_> {
    async fn chunk(&mut self, parsed: Parsed) -> Result<()> {
        let Parsed { rows, mut rejects } = parsed;
        let (mut rows, fresh) = self.without_repeats(rows, &mut rejects)?;
        let mut ejected = self.outdone(&fresh, &mut rejects).await?;
        if self.payroll.kind == PayrollKind::Reissue && !rows.is_empty() {
            let known = self.known(&identities(&rows)).await?;
            self.part(&mut rows, known, &mut rejects, &mut ejected)?;
        }
        let now = self.engine.clock.now();
        let spare = self.engine.providers.len() + rows.len() / self.items_min() + 2;
        let first = self.engine.store.allot(i64::try_from(rows.len() + spare)?, now).await?;
        let last = first + i64::try_from(rows.len() + spare)? - 1;
        let numbers = if self.payroll.numbers.0 == 0 { (first, last) } else { (self.payroll.numbers.0, last) };
        // Before the first try: one whose commit was not confirmed may have left rows there.
        self.payroll.numbers = numbers;
        for _ in 0..CHUNK_TRIES {
            let mut tx = self.engine.store.begin().await?;
            payroll::alive(&mut tx, self.payroll.id, numbers, now).await?;
            let gone: Vec<i64> = ejected.iter().map(|known| known.number).collect();
            if !gone.is_empty() {
                disbursement::delete(&mut tx, &gone).await?;
            }
            let (chunk, batches) = self.number(&rows, first);
            match disbursement::load(&mut tx, self.payroll.id, chunk).await {
                Ok(()) => {
                    payroll::insert_rejects(&mut tx, self.payroll.id, &rejects).await?;
                    tx.commit().await?;
                    self.count_rejects(&rejects)?;
                    self.cut(&rows, first, &batches);
                    self.dirty.extend(ejected.iter().map(|known| known.batch.number()));
                    return Ok(());
                }
                Err(error) if db::is_conflict(&error) => {
                    drop(tx);
                    let known = self.known(&identities(&rows)).await?;
                    self.part(&mut rows, known, &mut rejects, &mut ejected)?;
                }
                Err(error) if db::is_deadlock(&error) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("a chunk could not be loaded in {CHUNK_TRIES} tries; others are loading the same entitlements")
    }

    fn items_min(&self) -> usize {
        let most = self.engine.providers.iter().map(|provider| provider.connector.profile().items_max);
        most.min().map_or(CHUNK_ROWS, |items| usize::try_from(items.max(1)).unwrap_or(CHUNK_ROWS))
    }

    async fn known(&self, identities: &[[u8; 16]]) -> Result<Vec<Known>> {
        let mut tx = self.engine.store.read().await?;
        disbursement::known(&mut tx, identities).await
    }

    fn refuse(&self, row: &ParsedRow, why: (&'static str, String)) -> Result<Reject> {
        let payee = Payee::open(&self.engine.store.keys, &row.sealed)?;
        let amount = Money::new(row.amount_minor, self.payroll.currency);
        let decimal = amount.decimal().to_string();
        let cells = [
            payee.entitlement.as_str(),
            &payee.instalment,
            &payee.beneficiary,
            &payee.payee_name,
            &payee.payee_account,
            &decimal,
            amount.currency.code(),
            &payee.purpose,
            &payee.note,
        ]
        .map(str::as_bytes);
        let mut line = Vec::new();
        write_cells(cells.into_iter(), &mut line);
        let sealed = self.engine.store.keys.seal(&line);
        Ok(Reject { line: row.line, code: why.0, text: why.1, amount_minor: row.amount_minor, sealed })
    }

    fn count_rejects(&mut self, rejects: &[Reject]) -> Result<()> {
        for reject in rejects {
            self.rejected = self.rejected.with(reject.amount_minor).context("the sum is too large")?;
        }
        Ok(())
    }

    /// Numbers and batches for the rows of a chunk. Spare numbers at the end name new batches.
    fn number(&self, rows: &[ParsedRow], first: i64) -> (Chunk, Vec<i64>) {
        let mut chunk = Chunk::default();
        let mut fresh = first + rows.len() as i64;
        let mut filling: HashMap<usize, (i64, i64)> = self
            .open
            .iter()
            .map(|(provider, cut)| (*provider, (self.cuts[*cut].id.number(), self.cuts[*cut].total.payments)))
            .collect();
        let mut batches = Vec::with_capacity(rows.len());
        for (row, number) in rows.iter().zip(first..) {
            let items_max = i64::from(self.engine.providers[row.provider].connector.profile().items_max.max(1));
            let place = filling.entry(row.provider).or_insert((0, items_max));
            if place.1 >= items_max {
                *place = (fresh, 0);
                fresh += 1;
            }
            place.1 += i64::from(!row.held);
            batches.push(place.0);
            chunk.numbers.push(number);
            chunk.batches.push(place.0);
            chunk.amounts.push(row.amount_minor);
            chunk.generations.push(row.generation);
            let state = if row.held { State::Held } else { State::Queued };
            chunk.states.push(i16::try_from(state.code()).unwrap_or(0));
            chunk.identities.push(row.identity);
            chunk.lines.push(row.line);
            chunk.account_hashes.push(row.account_hash);
            chunk.payees.push(&row.sealed);
        }
        (chunk, batches)
    }

    /// Counts and hashes rows that are in, into their batches.
    fn cut(&mut self, rows: &[ParsedRow], first: i64, batches: &[i64]) {
        for ((row, number), batch) in rows.iter().zip(first..).zip(batches) {
            let open =
                self.open.get(&row.provider).copied().filter(|position| self.cuts[*position].id.number() == *batch);
            let position = open.unwrap_or_else(|| self.open_cut(row.provider, *batch, number));
            let cut = &mut self.cuts[position];
            if row.held {
                continue;
            }
            cut.total.payments += 1;
            cut.total.sum_minor += row.amount_minor;
            cut.numbers.1 = number;
            if let Some(hasher) = &mut cut.hasher {
                hasher.add(number, row.amount_minor, &row.identity, &row.sealed);
            }
        }
    }

    fn open_cut(&mut self, provider: usize, batch: i64, number: i64) -> usize {
        if let Some(full) = self.open.get(&provider) {
            self.cuts[*full].close();
        }
        let hasher = Some(ContentHasher::new(self.engine.store.tag));
        self.cuts.push(Cut {
            id: Id::new(batch),
            provider,
            total: Total::default(),
            numbers: (number, number),
            hasher,
            hash: Vec::new(),
        });
        self.open.insert(provider, self.cuts.len() - 1);
        self.cuts.len() - 1
    }

    /// Compares what the database holds with what was declared, read and hashed; seals the batches.
    async fn finish(mut self, programme: &ProgrammeRow, all_or_nothing: bool) -> Result<Option<FileRefused>> {
        let payroll = &mut *self.payroll;
        if payroll.file != payroll.declared {
            return Ok(Some(differs(payroll)));
        }
        if all_or_nothing && self.rejected.payments > 0 {
            let text = format!(
                "{} of {} rows cannot be paid, and this programme takes all or nothing",
                self.rejected.payments, payroll.file.payments
            );
            return Ok(Some(FileRefused { code: "rows_refused", text }));
        }
        let mut tx = self.engine.store.begin().await?;
        // A sweep that took this intake for dead has refused it: nothing may be added then.
        payroll::alive(&mut tx, payroll.id, payroll.numbers, self.engine.clock.now()).await?;
        if self.follows {
            self.recheck(&mut tx).await?;
        }
        let payroll = &mut *self.payroll;
        let found = disbursement::totals(&mut tx, payroll.id, payroll.numbers).await?;
        let (mut accepted, mut queued) = (Total::default(), HashMap::new());
        for (batch, state, total) in &found {
            accepted = accepted.and(*total).context("the sum is too large")?;
            if *state == State::Queued {
                queued.insert(batch.number(), *total);
            }
        }
        payroll.accepted = accepted;
        if accepted.payments == 0 {
            return Ok(Some(FileRefused {
                code: "nothing_payable",
                text: String::from("no row of the file can be paid; see the reject file"),
            }));
        }
        anyhow::ensure!(
            accepted.and(self.rejected) == Some(payroll.file),
            "accepted and refused rows do not add up to the file"
        );
        for cut in &mut self.cuts {
            cut.close();
            if self.dirty.contains(&cut.id.number()) {
                let members = disbursement::members(&mut tx, cut.id, cut.numbers).await?;
                cut.total = queued.get(&cut.id.number()).copied().unwrap_or_default();
                cut.hash = content_hash(self.engine.store.tag, &members);
            }
            let stored = queued.remove(&cut.id.number()).unwrap_or_default();
            anyhow::ensure!(stored == cut.total, "a batch does not hold the rows that were put into it");
            batch::insert(&mut tx, &cut.sealed(self.engine, payroll)).await?;
        }
        anyhow::ensure!(queued.is_empty(), "rows are in batches that do not exist");
        let (hash, _) = crate::engine::release::content(&mut tx, payroll.id).await?;
        payroll.content_hash = Some(hash);
        self.flag_shared(&mut tx, programme).await?;
        tx.analyze(accepted.payments).await?;
        tx.commit().await?;
        Ok(None)
    }

    async fn flag_shared(&self, tx: &mut db::Tx, programme: &ProgrammeRow) -> Result<()> {
        let Some(limit) = programme.shared_account_max else { return Ok(()) };
        let (accounts, rows) = disbursement::shared_accounts(tx, self.payroll.id, self.payroll.numbers, limit).await?;
        if accounts == 0 {
            return Ok(());
        }
        let now = self.engine.clock.now();
        let note = format!("{accounts} accounts are shared by more than {limit} rows each, {rows} rows in all");
        let number = self.engine.store.allot_in(tx, 1, now).await?;
        let fact = crate::store::notes::Fact {
            event: "payroll.shared_accounts",
            subject: self.payroll.id.number(),
            actor: "engine",
            note: &note,
            ..Default::default()
        };
        crate::store::notes::journal(tx, number, self.payroll.tenant, &fact, now).await
    }
}

impl Cut {
    fn close(&mut self) {
        if let Some(hasher) = self.hasher.take() {
            self.hash = hasher.finish();
        }
    }

    fn sealed(&self, engine: &Engine, payroll: &PayrollRow) -> BatchRow {
        BatchRow {
            id: self.id,
            payroll: payroll.id,
            programme: payroll.programme,
            provider: engine.providers[self.provider].name.clone(),
            currency: payroll.currency,
            // A batch whose rows are all held has nothing to send.
            state: if self.total.payments > 0 { BatchState::Sealed } else { BatchState::Completed },
            total: self.total,
            open: self.total,
            settled: Total::default(),
            rejected: Total::default(),
            returned: Total::default(),
            numbers: self.numbers,
            content_hash: self.hash.clone(),
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
}

fn identities(rows: &[ParsedRow]) -> Vec<[u8; 16]> {
    rows.iter().map(|row| row.identity).collect()
}

fn differs(payroll: &PayrollRow) -> FileRefused {
    let money = |minor| Money::new(minor, payroll.currency);
    let text = format!(
        "declared are {} rows and {}, the file holds {} rows and {}",
        payroll.declared.payments,
        money(payroll.declared.sum_minor),
        payroll.file.payments,
        money(payroll.file.sum_minor)
    );
    FileRefused { code: "totals_differ", text }
}

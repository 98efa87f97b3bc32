//! What the files of a bank cost: writing and reading them against the least that has to be done for the same bytes,
//! and importing and matching a whole statement against the walk through it and the bare set join of its entries.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use paymaster_connectors::contract::{
    Batch, Currency, Entry, EntryDetail, EntryFault, Instruction, Money, Reference, StatementEnd, StatementHead,
    StatementSink, StatusHead, StatusLine, StatusSink,
};
use paymaster_connectors::iso20022::{self, BankProfile, pain001, pain002::StatusProfile};
use serde_json::json;

use super::super::said;
use super::super::screen::Screen;
use super::{Payroll, median_of, peak_memory_kib, ratio, seconds, thousandths};
use crate::clock::random;
use crate::domain::id::Id;
use crate::domain::payroll::PayrollState;
use crate::engine::{Engine, Provider, Route};
use crate::sample::Sample;
use crate::store::payroll::Total;
use crate::store::{Store, floor};

/// Bytes held by readers and writers, ours and the floor's alike.
const BUFFER_BYTES: usize = 256 << 10;

/// Figures of one round: ours over the floor's.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    write: (Duration, Duration),
    status: (Duration, Duration),
    statement: (Duration, Duration),
    import: (Duration, Duration),
}

/// Runs the benchmark of files.
pub async fn run(screen: Screen, (rows, count): (u64, usize), database_url: Option<String>) -> Result<()> {
    let run = format!("{:08x}", u32::from_be_bytes(random::<4>()?));
    let folder = std::env::temp_dir().join(format!("paymaster-bench-{run}"));
    std::fs::create_dir_all(&folder)?;
    let base = database_url.unwrap_or_else(|| folder.join("db").display().to_string());
    let (mut rounds, mut imports) = (Vec::new(), Vec::new());
    for number in 0..count {
        imports.push(import(&base, (&folder, &format!("paymaster_bench_{run}_{number}")), rows).await?);
    }
    // Before the benchmark itself holds a whole payroll.
    let import_peak_kib = peak_memory_kib().unwrap_or(0);
    let batch = batch(rows)?;
    for (number, import) in imports.into_iter().enumerate() {
        let mut round = Round { write: writing(&folder, &batch)?, import, ..Round::default() };
        round.status = reading(&folder.join("status.xml"), |out| status(out, &batch))?;
        round.statement = reading(&folder.join("statement.xml"), |out| {
            let lines = batch.instructions.iter().map(|one| (one.reference, one.amount.minor));
            statement(out, lines, batch.currency)
        })?;
        screen.line(format!("round {}: {}", number + 1, round.line()));
        rounds.push(round);
    }
    std::fs::remove_dir_all(&folder)?;
    tell(screen, &rounds, (rows, import_peak_kib));
    Ok(())
}

impl Round {
    fn line(&self) -> String {
        let pair = |(ours, floor): (Duration, Duration)| format!("{} / {}", seconds(ours), seconds(floor));
        format!(
            "write {}, status {}, statement {}, import {}",
            pair(self.write),
            pair(self.status),
            pair(self.statement),
            pair(self.import)
        )
    }
}

fn tell(screen: Screen, rounds: &[Round], (rows, peak_kib): (u64, u64)) {
    let middle = |of: fn(&Round) -> (Duration, Duration)| {
        median_of(rounds.iter().map(|round| ratio(of(round).0, of(round).1)).collect()).unwrap_or(0)
    };
    let figures = [
        ("writing pain.001 / writing the same bytes", "write", middle(|round| round.write)),
        ("reading pain.002 / walking it", "status", middle(|round| round.status)),
        ("reading camt.053 / walking it", "statement", middle(|round| round.statement)),
        ("importing and matching camt.053 / walk + set join", "import", middle(|round| round.import)),
    ];
    screen.line(format!("{rows} payments, median of {} rounds", rounds.len()));
    for (words, _, figure) in figures {
        screen.line(format!("  {words:<52} {}", thousandths(figure)));
    }
    screen.line(format!("  {:<52} {} MiB", "peak memory of intake, sending and import", peak_kib / 1_024));
    if screen.json {
        let mut object = json!({"rows": rows, "rounds": rounds.len(), "peak_memory_kib": peak_kib});
        for (_, name, figure) in figures {
            object[format!("{name}_ratio_thousandths")] = json!(figure);
        }
        screen.object(&object);
    }
}

fn profile(rows: u64) -> serde_json::Value {
    json!({
        "debtor": {"name": "Treasury", "account": {"other": "0011223344"}, "agent": {"bic": "BANKKENAXXX"}},
        "payments_max": rows.clamp(1, 10_000), "bytes_max": 1_u64 << 32, "batch_booking": false,
    })
}

/// A batch like any other, as long as the benchmark.
fn batch(rows: u64) -> Result<Batch> {
    let currency = Currency::parse("KES").context("the benchmark's currency")?;
    let instruction = |number: i64| Instruction {
        reference: Reference::new((1 << 40) + number, 7),
        amount: Money::new(100_000 + number % 900_000, currency),
        payee_name: format!("Wanjiku Otieno {number}"),
        payee_account: format!("account:{:012}@bank", 100_000_000_000 + number),
        purpose: String::from("Hunger safety net, November"),
        provider_reference: None,
    };
    Ok(Batch {
        reference: Reference::new(1 << 40, 7),
        title: String::from("Hunger safety net"),
        currency,
        made_at: chrono::DateTime::from_timestamp(1_795_593_600, 0).unwrap_or_default(),
        execute_on: chrono::NaiveDate::from_ymd_opt(2026, 11, 26).unwrap_or_default(),
        wire_bytes: 0,
        provider_reference: None,
        instructions: (1..=i64::try_from(rows)?).map(instruction).collect(),
    })
}

/// Ours, and the same bytes through the same writer, payment by payment.
fn writing(folder: &Path, batch: &Batch) -> Result<(Duration, Duration)> {
    let mut profile: BankProfile = serde_json::from_value(profile(1))?;
    profile.payments_max = u32::try_from(batch.instructions.len())?;
    let path = folder.join("payments.xml");
    let began = Instant::now();
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path)?);
    pain001::write(&profile, batch, &mut out)?;
    out.flush()?;
    let ours = began.elapsed();
    let bytes = std::fs::read(&path)?;
    let payment = bytes.len() / batch.instructions.len().max(1);
    let began = Instant::now();
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(folder.join("bytes.xml"))?);
    for piece in bytes.chunks(payment.max(1)) {
        out.write_all(piece)?;
    }
    out.flush()?;
    Ok((ours, began.elapsed()))
}

/// Writes a file, then reads it into what the engine would be told, and walks through it.
fn reading(path: &PathBuf, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<(Duration, Duration)> {
    if !path.exists() {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        write(&mut out)?;
        out.flush()?;
    }
    let open = || Ok::<_, anyhow::Error>(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?));
    let walk = walked(path)?;
    let began = Instant::now();
    let mut counted = Counted::default();
    iso20022::read(open()?, &StatusProfile::default(), &mut counted)?;
    let ours = began.elapsed();
    ensure!(counted.reports > 0 && counted.faults == 0, "the benchmark's own file cannot be read: {counted:?}");
    Ok((ours, walk))
}

fn walked(path: &Path) -> Result<Duration> {
    let began = Instant::now();
    ensure!(iso20022::walk(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?))? > 0, "the file is empty");
    Ok(began.elapsed())
}

/// Counts what it is told.
#[derive(Debug, Default)]
struct Counted {
    reports: u64,
    faults: u64,
}

impl StatusSink for Counted {
    fn head(&mut self, _: &StatusHead) -> Result<()> {
        Ok(())
    }
    fn line(&mut self, line: StatusLine<'_>) -> Result<()> {
        self.reports += u64::from(line.report.is_some());
        Ok(())
    }
}

impl StatementSink for Counted {
    fn head(&mut self, _: &StatementHead) -> Result<()> {
        Ok(())
    }
    fn entry(&mut self, _: &Entry) -> Result<()> {
        Ok(())
    }
    fn detail(&mut self, detail: &EntryDetail) -> Result<()> {
        self.reports += u64::from(detail.reference().is_some());
        Ok(())
    }
    fn fault(&mut self, _: &EntryFault) -> Result<()> {
        self.faults += 1;
        Ok(())
    }
    fn end(&mut self, _: &StatementEnd) -> Result<()> {
        Ok(())
    }
}

fn status(out: &mut impl Write, batch: &Batch) -> Result<()> {
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:pain.002.001.03\">\
         <CstmrPmtStsRpt><GrpHdr><MsgId>S1</MsgId><CreDtTm>2026-11-26T09:00:00</CreDtTm></GrpHdr><OrgnlGrpInfAndSts>\
         <OrgnlMsgId>{0}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><GrpSts>ACCP</GrpSts></OrgnlGrpInfAndSts>\
         <OrgnlPmtInfAndSts><OrgnlPmtInfId>{0}</OrgnlPmtInfId>",
        batch.reference
    )?;
    for one in &batch.instructions {
        write!(
            out,
            "<TxInfAndSts><StsId>{0}-1</StsId><OrgnlInstrId>{0}</OrgnlInstrId><OrgnlEndToEndId>{0}</OrgnlEndToEndId>\
             <TxSts>ACSP</TxSts><OrgnlTxRef><Amt><InstdAmt Ccy=\"KES\">{1}</InstdAmt></Amt></OrgnlTxRef></TxInfAndSts>",
            one.reference,
            one.amount.decimal()
        )?;
    }
    write!(out, "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>")?;
    Ok(())
}

/// A statement with one entry for each payment.
fn statement(
    out: &mut impl Write,
    lines: impl Iterator<Item = (Reference, i64)> + Clone,
    currency: Currency,
) -> Result<()> {
    let opening = Money::new(i64::MAX / 4, currency);
    let spent: i64 = lines.clone().map(|(_, minor)| minor).sum();
    let closing = Money::new(opening.minor - spent, currency);
    let balance = |code: &str, money: Money| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"{currency}\">{}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2026-11-26</Dt></Dt></Bal>",
            money.decimal()
        )
    };
    write!(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\">\
         <BkToCstmrStmt><GrpHdr><MsgId>C1</MsgId><CreDtTm>2026-11-26T18:00:00</CreDtTm></GrpHdr><Stmt><Id>C1</Id>\
         <ElctrncSeqNb>1</ElctrncSeqNb><CreDtTm>2026-11-26T18:00:00</CreDtTm><Acct><Id><Othr><Id>0011223344</Id></Othr></Id>\
         <Ccy>{currency}</Ccy></Acct>{}{}",
        balance("OPBD", opening),
        balance("CLBD", closing)
    )?;
    for (reference, minor) in lines {
        write!(
            out,
            "<Ntry><Amt Ccy=\"{currency}\">{1}</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-11-26</Dt>\
             </BookgDt><ValDt><Dt>2026-11-26</Dt></ValDt><AcctSvcrRef>B{0}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly>\
             <Cd>ICDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls><TxDtls><Refs><EndToEndId>{0}</EndToEndId>\
             </Refs><AmtDtls><TxAmt><Amt Ccy=\"{currency}\">{1}</Amt></TxAmt></AmtDtls><RltdPties><Cdtr><Nm>Wanjiku Otieno</Nm>\
             </Cdtr></RltdPties></TxDtls></NtryDtls></Ntry>",
            reference,
            Money::new(minor, currency).decimal()
        )?;
    }
    write!(out, "</Stmt></BkToCstmrStmt></Document>")?;
    Ok(())
}

/// Pays a payroll to a bank's folder, then imports its statement. The floor walks through the same file, loads as many
/// entries and joins them with as many disbursements, whose state it changes.
async fn import(base: &str, (folder, name): (&Path, &str), rows: u64) -> Result<(Duration, Duration)> {
    let currency = Currency::parse("KES").context("the benchmark's currency")?;
    let root = folder.join(name);
    for below in ["in", "out"] {
        std::fs::create_dir_all(root.join(below))?;
    }
    let file = root.join("payroll.csv");
    let mut out = BufWriter::new(File::create(&file)?);
    let declared = crate::sample::write(&Sample::new(rows, 1, currency, "bench"), &mut out)?;
    out.flush()?;
    let declared = Total { payments: i64::try_from(declared.rows)?, sum_minor: declared.sum_minor };
    let payroll = Payroll { file: &file, declared, currency };
    let url = floor::fresh(base, &format!("{name}_import")).await?;
    let (mut engine, maker, checker) = super::house(&url, &payroll).await?;
    Arc::get_mut(&mut engine).context("the engine is in use already")?.providers = vec![bank(&root)?];
    let (row, _) = super::pay(&engine, (&maker, &checker), &payroll).await?;
    send_all(&engine).await?;
    let statement_file = root.join("out").join("statement.xml");
    write_statement(&engine, (row.id.number(), &statement_file), currency).await?;
    floor::checkpoint(&engine.store).await;
    // Sending has told somebody of the mailbox already.
    ensure!(engine.collect_soon("bench").await?, "the bench's bank has no mailbox");
    let began = Instant::now();
    let mailboxes = engine.due().await?.mailboxes;
    for number in mailboxes {
        engine.collect(Id::new(number)).await?;
    }
    let ours = began.elapsed();
    let state = said(engine.payroll_state(&maker.scope, row.id).await)?;
    ensure!(state == PayrollState::Reconciled, "the payroll is {state} after its statement");
    let found = engine.verify().await?;
    ensure!(found.findings.is_empty(), "the books do not hold: {:?}", found.findings);
    engine.store.db.close().await;
    drop(engine);
    floor::drop(base, &format!("{name}_import")).await?;
    let walk = walked(&statement_file)?;
    let store = Store::open(&floor::fresh(base, &format!("{name}_join")).await?, true).await?;
    floor::load(&store, declared.payments).await?;
    floor::checkpoint(&store).await;
    let began = Instant::now();
    floor::join(&store, declared.payments).await?;
    let join = began.elapsed();
    store.db.close().await;
    floor::drop(base, &format!("{name}_join")).await?;
    std::fs::remove_dir_all(&root)?;
    Ok((ours, walk + join))
}

fn bank(root: &Path) -> Result<Provider> {
    let settings = json!({
        "bank": profile(10_000),
        "delivery": {"kind": "folder", "path": root, "outbox": "in", "collect": ["out"]},
    });
    Ok(Provider {
        name: String::from("bench"),
        routes: Route::parse("*@bench").into_iter().collect(),
        connector: paymaster_connectors::open("bank", "bench", settings)?,
        callback_secret: None,
    })
}

async fn send_all(engine: &Engine) -> Result<()> {
    loop {
        let due = engine.due().await?;
        if due.batches.is_empty() {
            return Ok(());
        }
        for number in due.batches {
            engine.drive(Id::new(number)).await?;
        }
    }
}

async fn write_statement(engine: &Engine, (payroll, path): (i64, &Path), currency: Currency) -> Result<()> {
    let numbers = floor::ordered(&engine.store, payroll).await?;
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    let lines = numbers.iter().map(|(number, minor)| (engine.reference(*number), *minor));
    statement(&mut out, lines, currency)?;
    out.flush()?;
    Ok(())
}

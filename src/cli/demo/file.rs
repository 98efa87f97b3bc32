//! The demo's payroll file: made up, or given and counted.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use paymaster_connectors::contract::Currency;

use super::bank::BANK;
use super::{OPERATOR, Rails};
use crate::domain::columns::Column;
use crate::domain::csv::Reader;
use crate::domain::row::{self, Rules};
use crate::engine::Route;
use crate::sample::{self, Sample};
use crate::store::payroll::Total;

/// Currency of made-up payrolls.
const CURRENCY: &str = "KES";
/// Most different routes that a given file may ask for.
const ROUTES_MAX: usize = 1_000;

/// Rows of a thousand that are paid by the bank where both rails are open.
const BANK_PER_MILLE: u32 = 400;

/// A payroll to pay.
pub struct Made {
    pub file: PathBuf,
    pub currency: Currency,
    pub declared: Total,
    pub routes: Vec<Route>,
}

/// Writes a made-up payroll, paid over these rails.
pub fn made_up((rows, seed): (u64, u64), rails: Rails, folder: &Path) -> Result<Made> {
    ensure!(rows > 0, "--rows must be above 0");
    let currency = Currency::parse(CURRENCY).context("the demo's currency")?;
    let file = folder.join("payroll.csv");
    let mut out = BufWriter::new(File::create(&file)?);
    let bank = rails.bank.then(|| (if rails.mobile_money { BANK_PER_MILLE } else { 1_000 }, BANK.to_owned()));
    let sample = Sample { bank, ..Sample::new(rows, seed, currency, OPERATOR) };
    let declared = sample::write(&sample, &mut out)?;
    out.flush()?;
    let declared = Total { payments: i64::try_from(declared.rows)?, sum_minor: declared.sum_minor };
    Ok(Made { file, currency, declared, routes: Route::parse(&format!("mobile:*@{OPERATOR}")).into_iter().collect() })
}

/// Counts a given payroll, as its maker would have; every mobile account in it goes to the sandbox's operator.
pub fn given(path: &Path) -> Result<Made> {
    let opened = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = Reader::new(opened);
    let refused = |error: crate::domain::csv::FileRefusal| {
        anyhow::anyhow!("{}, line {}: {}", path.display(), error.line, error.text)
    };
    let columns = reader.header().map_err(refused)?;
    let (mut currency, mut declared, mut routes) = (None, Total::default(), Vec::new());
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => return Err(refused(error)),
        };
        let cell = |column| {
            columns
                .index(column)
                .and_then(|at| record.field(at))
                .and_then(|cell| std::str::from_utf8(cell).ok())
                .unwrap_or("")
                .trim()
        };
        currency = currency.or_else(|| Currency::parse(cell(Column::Currency)));
        let rules = currency.map(|currency| Rules { currency, amount_minor_max: None });
        let amount = rules.and_then(|rules| row::written_amount(&columns, &record, &rules)).unwrap_or(0);
        declared = declared.with(amount).context("the sum of all amounts is too large")?;
        let route = cell(Column::PayeeAccount)
            .rsplit_once('@')
            .and_then(|(_, provider)| Route::parse(&format!("mobile:*@{provider}")));
        if let Some(route) = route.filter(|route| !routes.contains(route) && routes.len() < ROUTES_MAX) {
            routes.push(route);
        }
    }
    let Some(currency) = currency else { bail!("{} has no row with a currency that is known", path.display()) };
    Ok(Made { file: path.to_owned(), currency, declared, routes })
}

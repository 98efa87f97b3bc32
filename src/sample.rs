//! Sample payrolls of any size: the same seed gives the same bytes. A share of the rows is bad in known ways.
//! Deliberately not here: real people; names are put together by chance and numbers are counted up.

use std::io::{self, Write};

use paymaster_connectors::contract::Currency;

use crate::chance::Chance;

/// Columns of a sample, in the order in which they are written.
const HEADER: &str = "entitlement,instalment,beneficiary_id,payee_name,payee_account,amount,currency,purpose,note\r\n";
/// Bytes collected before they are written on.
const BLOCK_BYTES: usize = 64 * 1024;
/// Phone numbers behind `+2547`; with more rows than this they repeat.
const PHONES_MAX: u64 = 100_000_000;
/// Coprime to `PHONES_MAX` and to `IDS_MAX`, so that multiplying by it only changes the order.
const STRIDE: u64 = 48_271;
/// National ids from `ID_FIRST` on.
const IDS_MAX: u64 = 1_000_000_000_000;
const ID_FIRST: u64 = 10_000_000_000_000;
/// Amounts lie between these, in whole units of the currency.
const UNITS: std::ops::Range<u64> = 800..9_600;

/// What to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Rows below the header, bad ones counted.
    pub rows: u64,
    /// Where chance starts.
    pub seed: u64,
    /// Currency of all rows.
    pub currency: Currency,
    /// The provider in every payee account, such as `mobile-op`.
    pub provider: String,
    /// How many rows of a thousand are bad.
    pub bad_per_mille: u32,
    /// How many rows of a thousand are paid to an account of a bank instead, and its name.
    pub bank: Option<(u32, String)>,
}

impl Sample {
    /// A sample with 20 bad rows of a thousand.
    pub fn new(rows: u64, seed: u64, currency: Currency, provider: &str) -> Self {
        Self { rows, seed, currency, provider: provider.to_owned(), bad_per_mille: 20, bank: None }
    }
}

/// What a finance team declares along with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// Rows of the file.
    pub rows: u64,
    /// Sum of all amounts that can be read exactly, in minor units; refused rows count too.
    pub sum_minor: i64,
}

/// A way in which a row is bad.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The code with which reading the row refuses it; `None` when only earlier rows show that it is bad.
    pub code: Option<&'static str>,
    spoil: fn(&mut Row, &Row),
}

const KINDS: [Kind; 13] = [
    kind("amount empty", Some("amount_empty"), |row, _| row.set_amount("", None)),
    kind("too many decimals", Some("amount_decimals"), |row, _| {
        let sign = if row.exponent == 0 { "." } else { "" };
        row.set_amount(&format!("{}{sign}5", row.amount), None);
    }),
    kind("negative amount", Some("amount_not_positive"), |row, _| {
        row.set_amount(&format!("-{}", row.amount), row.minor.map(|minor| -minor));
    }),
    kind("amount grouped", Some("amount_not_plain"), |row, _| row.set_amount("1,250.00", None)),
    kind("amount in Arabic digits", Some("amount_foreign_digits"), |row, _| row.set_amount("١٢٥٠", None)),
    kind("phone without country code", Some("phone_not_international"), |row, _| {
        row.account = row.account.replace("+254", "0");
    }),
    kind("same entitlement, same amount", None, |row, before| *row = before.clone()),
    kind("same entitlement, other amount", None, |row, before| {
        let (amount, minor) = (std::mem::take(&mut row.amount), row.minor);
        *row = before.clone();
        row.set_amount(&amount, minor);
    }),
    kind("control character", Some("text_control"), |row, _| row.name.push('\u{7}')),
    kind("too few cells", Some("columns_ragged"), |row, _| (row.cells, row.minor) = (CELLS - 2, None)),
    kind("direction override in name", Some("text_direction"), |row, _| row.name.insert(0, '\u{202e}')),
    kind("beneficiary missing", Some("beneficiary_missing"), |row, _| row.beneficiary.clear()),
    kind("look-alike letter in id", Some("id_mixed_scripts"), |row, _| row.entitlement.insert(0, 'А')),
];

const fn kind(name: &'static str, code: Option<&'static str>, spoil: fn(&mut Row, &Row)) -> Kind {
    Kind { name, code, spoil }
}

/// All ways in which sample rows are bad. They take turns through the file.
pub fn kinds() -> &'static [Kind] {
    &KINDS
}

/// How many cells a good row has.
const CELLS: usize = 9;

/// A row before it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    entitlement: String,
    instalment: &'static str,
    beneficiary: String,
    name: String,
    account: String,
    amount: String,
    minor: Option<i64>,
    purpose: &'static str,
    exponent: u32,
    cells: usize,
}

impl Row {
    fn set_amount(&mut self, text: &str, minor: Option<i64>) {
        text.clone_into(&mut self.amount);
        self.minor = minor;
    }

    fn write(&self, currency: Currency, out: &mut Vec<u8>) {
        let cells: [&str; CELLS] = [
            &self.entitlement,
            self.instalment,
            &self.beneficiary,
            &self.name,
            &self.account,
            &self.amount,
            currency.code(),
            self.purpose,
            "",
        ];
        for (index, cell) in cells.iter().take(self.cells).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            // No cell of a sample has a quotation mark in it.
            let mark: &[u8] = if cell.contains(',') { b"\"" } else { b"" };
            out.extend_from_slice(mark);
            out.extend_from_slice(cell.as_bytes());
            out.extend_from_slice(mark);
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes the sample as CSV and says what to declare with it.
pub fn write(sample: &Sample, out: &mut dyn Write) -> io::Result<Declared> {
    let mut chance = Chance::new(sample.seed);
    let mut block = Vec::with_capacity(2 * BLOCK_BYTES);
    block.extend_from_slice(HEADER.as_bytes());
    let (mut row, mut before) = (Row::default(), Row::default());
    let mut turns = KINDS.iter().cycle();
    let mut declared = Declared { rows: sample.rows, sum_minor: 0 };
    for index in 0..sample.rows {
        fill(&mut row, sample, index, &mut chance)?;
        let bad = chance.below(1_000) < u64::from(sample.bad_per_mille);
        // A repeated row needs one to repeat, so the first is always good.
        let spoiled = if bad && before.cells > 0 { turns.next() } else { None };
        match spoiled {
            Some(kind) => (kind.spoil)(&mut row, &before),
            None => before.clone_from(&row),
        }
        row.write(sample.currency, &mut block);
        let sum = declared.sum_minor.checked_add(row.minor.unwrap_or(0));
        declared.sum_minor = sum.ok_or_else(|| io::Error::other("the sum of so many rows does not fit"))?;
        if block.len() >= BLOCK_BYTES {
            out.write_all(&block)?;
            block.clear();
        }
    }
    out.write_all(&block)?;
    out.flush()?;
    Ok(declared)
}

/// Makes a good row. All its numbers follow from `index`, so no two good rows share an account.
fn fill(row: &mut Row, sample: &Sample, index: u64, chance: &mut Chance) -> io::Result<()> {
    use std::fmt::Write as _;
    let shuffled = index.wrapping_add(sample.seed % PHONES_MAX).wrapping_mul(STRIDE);
    let exponent = sample.currency.exponent();
    let scale = 10_u64.pow(exponent);
    let minor = UNITS.start * scale + chance.below((UNITS.end - UNITS.start) * scale);
    row.clear();
    row.instalment = pick(chance, &["1", "2", "3", ""]);
    row.purpose = pick(chance, &PURPOSES);
    row.exponent = exponent;
    row.minor = i64::try_from(minor).ok();
    let script = pick(chance, &SCRIPTS);
    row.name.push_str(pick(chance, script.given));
    row.name.push(' ');
    row.name.push_str(pick(chance, script.family));
    let written = write!(row.entitlement, "HH-{:04}-{index:09}", sample.seed % 10_000)
        .and_then(|()| write!(row.beneficiary, "{}", ID_FIRST + shuffled % IDS_MAX))
        .and_then(|()| write!(row.account, "mobile:+2547{:08}@{}", shuffled % PHONES_MAX, sample.provider))
        .and_then(|()| match usize::try_from(exponent) {
            Ok(decimals) if decimals > 0 => {
                write!(row.amount, "{}.{:0decimals$}", minor / scale, minor % scale)
            }
            _ => write!(row.amount, "{minor}"),
        });
    written.map_err(io::Error::other)?;
    if let Some((per_mille, bank)) = &sample.bank
        && chance.below(1_000) < u64::from(*per_mille)
    {
        row.account.clear();
        write!(row.account, "account:{:012}@{bank}", shuffled % IDS_MAX).map_err(io::Error::other)?;
    }
    Ok(())
}

impl Row {
    /// Empties it and keeps its memory.
    fn clear(&mut self) {
        for text in [&mut self.entitlement, &mut self.beneficiary, &mut self.name, &mut self.account, &mut self.amount]
        {
            text.clear();
        }
        self.cells = CELLS;
    }
}

fn pick<T: Copy + Default>(chance: &mut Chance, from: &[T]) -> T {
    from.get(chance.place(from.len())).copied().unwrap_or_default()
}

const PURPOSES: [&str; 4] = ["Cash transfer", "School support, term 2", "Old age pension", "Relief after the flood"];

/// Names of one script.
#[derive(Debug, Clone, Copy, Default)]
struct Script {
    given: &'static [&'static str],
    family: &'static [&'static str],
}

const SCRIPTS: [Script; 8] = [
    Script {
        given: &["Amina", "Grace", "José", "Fátima", "Otieno", "Zawadi", "María", "Kwame"],
        family: &["Wanjiru", "Ndiaye", "Añez", "O'Neil", "Kipkorir", "Mensah", "Núñez", "Diallo"],
    },
    Script { given: &["Hassan,", "Mohamed,", "Achieng,", "Banda,"], family: &["Ali", "Said", "Mary", "Chanda"] },
    Script {
        given: &["فاطمة", "محمد", "عائشة", "يوسف", "می\u{200c}ترا"],
        family: &["الحسن", "عبد الله", "السيد", "کریمی"],
    },
    Script {
        given: &["सीता", "राम", "गीता", "अर्जुन"], family: &["देवी", "कुमार", "शर्मा", "थापा"]
    },
    Script {
        given: &["রহিমা", "করিম", "শেফালী", "আবদুল"], family: &["বেগম", "হোসেন", "খাতুন", "মিয়া"]
    },
    Script {
        given: &["አበበ", "ፋና", "ትርንጎ", "ሙሉጌታ"], family: &["በቀለ", "ኃይሌ", "ተስፋዬ", "ወልዴ"]
    },
    Script {
        given: &["សុខា", "ចាន់", "ស្រីមុំ", "វិសាល"], family: &["ហេង", "កែវ", "លី", "សុខ"]
    },
    Script {
        given: &["Айгуль", "Олена", "Нурлан", "Иван"], family: &["Садыкова", "Шевченко", "Ахметов", "Петров"]
    },
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::domain::csv::Reader;
    use crate::domain::row::{self, Rules};

    fn sample(rows: u64, code: &str, bad_per_mille: u32) -> Sample {
        Sample { bad_per_mille, ..Sample::new(rows, 7, Currency::parse(code).unwrap(), "mobile-op") }
    }

    fn written(sample: &Sample) -> (Vec<u8>, Declared) {
        let mut out = Vec::new();
        let declared = write(sample, &mut out).unwrap();
        (out, declared)
    }

    #[test]
    fn declared_totals_are_those_of_the_file() {
        for code in ["KES", "JPY", "KWD"] {
            let sample = sample(3_000, code, 200);
            let (file, declared) = written(&sample);
            let rules = Rules { currency: sample.currency, amount_minor_max: None };
            let mut reader = Reader::new(file.as_slice());
            let columns = reader.header().unwrap();
            let (mut rows, mut all, mut paid, mut refused) = (0, 0, 0, 0);
            let mut codes = BTreeMap::<&str, u32>::new();
            while let Some(line) = reader.next().unwrap() {
                rows += 1;
                let amount = row::written_amount(&columns, &line, &rules).unwrap_or(0);
                all += amount;
                match row::read(&columns, &line, &rules) {
                    Ok(payable) => paid += payable.amount.minor,
                    Err(refusal) => {
                        refused += amount;
                        *codes.entry(refusal.code).or_default() += 1;
                    }
                }
            }
            assert_eq!(declared, Declared { rows, sum_minor: all }, "{code}");
            assert_eq!(paid + refused, all, "{code}");
            let wanted: BTreeSet<&str> = kinds().iter().filter_map(|kind| kind.code).collect();
            assert_eq!(codes.keys().copied().collect::<BTreeSet<_>>(), wanted, "{code}");
        }
    }

    #[test]
    fn good_rows_are_all_payable_and_share_nothing() {
        let sample = sample(2_000, "KES", 0);
        let (file, declared) = written(&sample);
        let rules = Rules { currency: sample.currency, amount_minor_max: None };
        let mut reader = Reader::new(file.as_slice());
        let columns = reader.header().unwrap();
        let (mut sum, mut seen) = (0, BTreeSet::new());
        while let Some(line) = reader.next().unwrap() {
            let payable = row::read(&columns, &line, &rules).unwrap();
            sum += payable.amount.minor;
            assert!(seen.insert(payable.payee_account.as_str().to_owned()));
            assert!(seen.insert(payable.entitlement));
            assert!(seen.insert(payable.beneficiary));
        }
        assert_eq!((seen.len(), sum), (6_000, declared.sum_minor));
    }

    #[test]
    fn some_rows_repeat_an_entitlement_with_and_without_another_amount() {
        let (file, _) = written(&sample(2_000, "KES", 500));
        let mut seen = BTreeMap::new();
        let (mut same, mut other) = (0, 0);
        for line in csv::ReaderBuilder::new().flexible(true).from_reader(file.as_slice()).records() {
            let line = line.unwrap();
            if let Some(amount) = seen.insert(line[0].to_owned(), line[5].to_owned()) {
                if amount == line[5] { same += 1 } else { other += 1 }
            }
        }
        assert!(same > 20 && other > 20, "{same} {other}");
    }

    #[test]
    fn the_seed_decides_every_byte() {
        let sample = sample(500, "KES", 20);
        assert_eq!(written(&sample), written(&sample));
        assert_ne!(written(&sample).0, written(&Sample { seed: 8, ..sample }).0);
        let empty = Sample { rows: 0, ..self::sample(0, "KES", 1_000) };
        assert_eq!(written(&empty).1, Declared { rows: 0, sum_minor: 0 });
    }
}

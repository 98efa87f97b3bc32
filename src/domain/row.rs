//! One row of a payroll file: either something that can be paid, or a refusal with a code and a hint.
//! Deliberately not here: whether it was paid before (`identity` and the store), and the file around it.

use paymaster_connectors::contract::{AmountError, Currency, Money};

use super::account::PayeeAccount;
use super::columns::{Column, Columns};
use super::csv::Record;
use super::text::{self, TextError};

pub use super::text::for_people;

/// The longest entitlement, instalment and beneficiary id, in characters.
pub const ID_CHARS_MAX: usize = 64;
/// The longest payee name: what ISO 20022 carries.
pub const NAME_CHARS_MAX: usize = 140;
/// The longest payee account.
pub const ACCOUNT_CHARS_MAX: usize = 128;
/// The longest purpose: what ISO 20022 carries.
pub const PURPOSE_CHARS_MAX: usize = 140;
/// The longest note.
pub const NOTE_CHARS_MAX: usize = 500;
/// The longest written amount. Within it a decimal is exact; beyond it some would be rounded.
pub const AMOUNT_CHARS_MAX: usize = 28;

/// What holds for all rows of one payroll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The payroll's one currency.
    pub currency: Currency,
    /// The highest amount that may be paid, itself allowed.
    pub amount_minor_max: Option<i64>,
}

/// A row that can be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payable {
    /// The programme's key of what is owed.
    pub entitlement: String,
    /// Which part of it; may be empty.
    pub instalment: String,
    /// The programme's key of who is owed.
    pub beneficiary: String,
    /// The payee's name as written.
    pub payee_name: String,
    /// Where the money goes.
    pub payee_account: PayeeAccount,
    /// More than zero, in the payroll's currency.
    pub amount: Money,
    /// Why, for the payee; may be empty.
    pub purpose: String,
    /// For the programme's own people; may be empty.
    pub note: String,
}

/// Why a row is refused. Its text names the column and never repeats the cell, which is personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct RowRefusal {
    /// Stable name for programs.
    pub code: &'static str,
    /// What is wrong and what to do about it.
    pub text: String,
}

/// Reads a row. Of several refusals the first counts, in the order of `Column::ALL`, but the currency is
/// looked at before the amount, because it says how many decimals the amount may have.
pub fn read(columns: &Columns, row: &Record<'_>, rules: &Rules) -> Result<Payable, RowRefusal> {
    let cells = Cells::new(columns, row)?;
    let entitlement = cells.id(Column::Entitlement)?;
    let instalment = cells.id(Column::Instalment)?;
    let beneficiary = cells.id(Column::BeneficiaryId)?;
    let payee_name = cells.name()?;
    let payee_account = cells.account()?;
    cells.currency(rules.currency)?;
    let amount = cells.amount(rules)?;
    let purpose = cells.free(Column::Purpose, PURPOSE_CHARS_MAX)?;
    let note = cells.free(Column::Note, NOTE_CHARS_MAX)?;
    Ok(Payable {
        entitlement: entitlement.to_owned(),
        instalment: instalment.to_owned(),
        beneficiary: beneficiary.to_owned(),
        payee_name: payee_name.to_owned(),
        payee_account,
        amount,
        purpose,
        note,
    })
}

/// The amount of a row, refused or not, for control totals: file = accepted + refused. It is what a sum over
/// the column gives, so zero and negative amounts count. `None` (count it as 0) when the amount cannot be read
/// exactly, is in another currency, or the row is ragged, so that no cell is known to be the amount.
pub fn written_amount(columns: &Columns, row: &Record<'_>, rules: &Rules) -> Option<i64> {
    let cell = |column| {
        let bytes = row.field(columns.index(column)?)?;
        std::str::from_utf8(bytes).ok().map(|text| text.trim_matches(' '))
    };
    if row.len() != columns.count() || cell(Column::Currency)? != rules.currency.code() {
        return None;
    }
    let text = cell(Column::Amount)?;
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    if digits.starts_with('-') || digits.len() > AMOUNT_CHARS_MAX {
        return None;
    }
    match Money::parse(digits, rules.currency) {
        Ok(money) => Some(sign * money.minor),
        Err(AmountError::NotPositive) => Some(0),
        Err(_) => None,
    }
}

/// A row whose fields are known to be as many as the columns.
struct Cells<'a> {
    columns: &'a Columns,
    row: &'a Record<'a>,
}

impl<'a> Cells<'a> {
    fn new(columns: &'a Columns, row: &'a Record<'a>) -> Result<Self, RowRefusal> {
        if row.len() == columns.count() {
            return Ok(Self { columns, row });
        }
        let text = format!(
            "the row has {} cells and the header {}; add or remove commas, or put a text with commas into quotation marks",
            row.len(),
            columns.count()
        );
        Err(RowRefusal { code: "columns_ragged", text })
    }

    /// The cell without spaces around it; empty when the file does not have the column.
    fn get(&self, column: Column) -> Result<&'a str, RowRefusal> {
        let bytes = self.columns.index(column).and_then(|index| self.row.field(index)).unwrap_or_default();
        let text = std::str::from_utf8(bytes)
            .map_err(|_| refusal("text_not_utf8", column, "is not UTF-8; save the file as CSV (UTF-8)"))?;
        Ok(text.trim_matches(' '))
    }

    fn id(&self, column: Column) -> Result<&'a str, RowRefusal> {
        let text = self.get(column)?;
        match column {
            Column::Entitlement if text.is_empty() => Err(refusal("entitlement_missing", column, "is empty")),
            Column::BeneficiaryId if text.is_empty() => Err(refusal("beneficiary_missing", column, "is empty")),
            _ => {
                text::check_id(text, ID_CHARS_MAX).map_err(|error| explain(error, column, ID_CHARS_MAX)).map(|()| text)
            }
        }
    }

    fn name(&self) -> Result<&'a str, RowRefusal> {
        let column = Column::PayeeName;
        let text = self.get(column)?;
        if text.trim().is_empty() {
            return Err(refusal("payee_name_missing", column, "is empty"));
        }
        text::check_line(text, NAME_CHARS_MAX).map_err(|error| explain(error, column, NAME_CHARS_MAX))?;
        Ok(text)
    }

    fn account(&self) -> Result<PayeeAccount, RowRefusal> {
        let column = Column::PayeeAccount;
        let text = self.get(column)?;
        match text::check_id(text, ACCOUNT_CHARS_MAX) {
            // The account's own rules speak of letters outside ASCII.
            Ok(()) | Err(TextError::MixedScripts) => {}
            Err(error) => return Err(explain(error, column, ACCOUNT_CHARS_MAX)),
        }
        PayeeAccount::parse(text)
            .map_err(|error| RowRefusal { code: error.code(), text: format!("{}: {error}", column.name()) })
    }

    fn currency(&self, wanted: Currency) -> Result<(), RowRefusal> {
        let column = Column::Currency;
        let text = self.get(column)?;
        if text == wanted.code() {
            return Ok(());
        }
        match Currency::parse(text) {
            None => Err(refusal("currency_unknown", column, "is not an ISO 4217 code in capitals, such as KES")),
            Some(_) => {
                let text = format!("is not {wanted}, the payroll's currency; pay another currency by another payroll");
                Err(refusal("currency_other", column, &text))
            }
        }
    }

    fn amount(&self, rules: &Rules) -> Result<Money, RowRefusal> {
        let column = Column::Amount;
        let text = self.get(column)?;
        let money = match Money::parse(text, rules.currency) {
            Ok(_) if text.len() > AMOUNT_CHARS_MAX => Err(AmountError::TooLarge),
            read => read,
        };
        let money = money
            .map_err(|error| RowRefusal { code: amount_code(error), text: format!("{}: {error}", column.name()) })?;
        match rules.amount_minor_max {
            Some(max) if money.minor > max => {
                let text = format!("is over the ceiling of {}", Money::new(max, rules.currency));
                Err(refusal("amount_over_ceiling", column, &text))
            }
            _ => Ok(money),
        }
    }

    fn free(&self, column: Column, chars_max: usize) -> Result<String, RowRefusal> {
        let text = self.get(column)?;
        let folded = text::fold_lines(text, chars_max).map_err(|error| explain(error, column, chars_max))?;
        Ok(folded.into_owned())
    }
}

fn refusal(code: &'static str, column: Column, text: &str) -> RowRefusal {
    RowRefusal { code, text: format!("{} {text}", column.name()) }
}

fn explain(error: TextError, column: Column, chars_max: usize) -> RowRefusal {
    let hint = match error {
        TextError::TooLong => return refusal(error.code(), column, &format!("has more than {chars_max} characters")),
        TextError::Control => "has a control character, tab or line break; remove it",
        TextError::Direction => "has a hidden character that changes what is seen; type it anew",
        TextError::MixedScripts => "has a character outside ASCII, which may look like an ASCII one; type it anew",
    };
    refusal(error.code(), column, hint)
}

fn amount_code(error: AmountError) -> &'static str {
    match error {
        AmountError::Empty => "amount_empty",
        AmountError::NotPlain => "amount_not_plain",
        AmountError::ForeignDigits => "amount_foreign_digits",
        AmountError::TooManyDecimals => "amount_decimals",
        AmountError::NotPositive => "amount_not_positive",
        AmountError::TooLarge => "amount_too_large",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::csv::Reader;
    use super::*;

    /// A good row, to be spoilt one cell at a time.
    const GOOD: [(Column, &str); 9] = [
        (Column::Entitlement, "HH-1"),
        (Column::Instalment, "1"),
        (Column::BeneficiaryId, "0030012345"),
        (Column::PayeeName, "Amina Ali"),
        (Column::PayeeAccount, "mobile:+254712345678@mobile-op"),
        (Column::Amount, "1250.50"),
        (Column::Currency, "KES"),
        (Column::Purpose, "Cash transfer"),
        (Column::Note, ""),
    ];

    fn rules(code: &str, max: Option<i64>) -> Rules {
        Rules { currency: Currency::parse(code).unwrap(), amount_minor_max: max }
    }

    /// Reads one row in a payroll with these rules; also what control totals count for it.
    fn read_row(row: &[u8], rules: &Rules) -> (Result<Payable, RowRefusal>, Option<i64>) {
        let header = GOOD.map(|(column, _)| column.name()).join(",");
        let file = [header.as_bytes(), b"\n", row, b"\n"].concat();
        let mut reader = Reader::new(file.as_slice());
        let columns = reader.header().unwrap();
        let row = reader.next().unwrap().unwrap();
        (read(&columns, &row, rules), written_amount(&columns, &row, rules))
    }

    fn spoilt(column: Column, cell: &[u8]) -> Vec<u8> {
        let cells = GOOD.map(|(other, good)| if other == column { cell } else { good.as_bytes() });
        cells.map(|cell| [b"\"", cell, b"\""].concat()).join(&b","[..])
    }

    fn with(column: Column, cell: &[u8], rules: &Rules) -> (Result<Payable, RowRefusal>, Option<i64>) {
        read_row(&spoilt(column, cell), rules)
    }

    #[test]
    fn a_good_row_is_kept_as_written_without_spaces_around() {
        let row = b" HH-1 ,, 0030012345,=1+1 , MOBILE:+254712345678@Mobile-Op ,010.00,KES,,\"one\r\ntwo\"";
        let (payable, written) = read_row(row, &rules("KES", None));
        let payable = payable.unwrap();
        assert_eq!((payable.amount.minor, written), (1000, Some(1000)));
        assert_eq!((payable.entitlement.as_str(), payable.instalment.as_str()), ("HH-1", ""));
        assert_eq!((payable.beneficiary.as_str(), payable.payee_name.as_str()), ("0030012345", "=1+1"));
        assert_eq!(payable.payee_account.as_str(), "mobile:+254712345678@mobile-op");
        assert_eq!((payable.purpose.as_str(), payable.note.as_str()), ("", "one two"));
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        let kes = rules("KES", Some(10_000_000));
        // (case of the list of bad input, amount, refusal, what control totals count)
        let cases: [(u32, &str, &str, Option<i64>); 22] = [
            (26, "", "amount_empty", None),
            (27, "0", "amount_not_positive", Some(0)),
            (27, "0.00", "amount_not_positive", Some(0)),
            (28, "-5", "amount_not_positive", Some(-500)),
            (28, "--5", "amount_not_plain", None),
            (29, "1,000.00", "amount_not_plain", None),
            (30, "1.000,00", "amount_not_plain", None),
            (31, "1e3", "amount_not_plain", None),
            (32, "NaN", "amount_not_plain", None),
            (32, "Inf", "amount_not_plain", None),
            (33, "10.005", "amount_decimals", None),
            (33, "10.0000000000000000000000000000000001", "amount_too_large", None),
            (35, "010.00", "", Some(1_000)),
            (36, "١٢٥٠", "amount_foreign_digits", None),
            (36, "१२", "amount_foreign_digits", None),
            (37, "10.00 ", "", Some(1_000)),
            (37, "10.00\u{a0}", "amount_not_plain", None),
            (38, "100000.01", "amount_over_ceiling", Some(10_000_001)),
            (39, "100000.00", "", Some(10_000_000)),
            (25, "92233720368547758.07", "amount_over_ceiling", Some(i64::MAX)),
            (25, "92233720368547758.08", "amount_too_large", None),
            (25, "99999999999999999999999999999999999999999", "amount_too_large", None),
        ];
        for (case, cell, wanted, counted) in cases {
            let (payable, written) = with(Column::Amount, cell.as_bytes(), &kes);
            assert_eq!(written, counted, "case {case}: {cell}");
            match payable {
                Ok(payable) => assert_eq!(("", Some(payable.amount.minor)), (wanted, counted), "case {case}: {cell}"),
                Err(refusal) => assert_eq!(refusal.code, wanted, "case {case}: {cell}"),
            }
        }
        let hint = with(Column::Amount, "١٢".as_bytes(), &kes).0.unwrap_err();
        assert!(hint.text.contains("0-9"), "{hint}");
        // Case 34.
        let row = String::from_utf8(spoilt(Column::Amount, b"10.5")).unwrap().replace("KES", "JPY");
        assert_eq!(read_row(row.as_bytes(), &rules("JPY", None)).0.unwrap_err().code, "amount_decimals");
    }

    #[test]
    fn one_currency_a_payroll() {
        // Case 40: unknown and other currencies, which no control total can add up.
        let cases = [("usd", "currency_unknown"), ("XXX", "currency_unknown"), ("", "currency_unknown")];
        for (cell, wanted) in cases.into_iter().chain([("USD", "currency_other"), ("KWD", "currency_other")]) {
            let (payable, written) = with(Column::Currency, cell.as_bytes(), &rules("KES", None));
            assert_eq!((payable.unwrap_err().code, written), (wanted, None), "{cell}");
        }
    }

    #[test]
    fn texts_are_refused_by_column() {
        use Column::*;
        let long = "x".repeat(501);
        // (case of the list of bad input, column, cell, refusal; nothing when accepted)
        let cases: Vec<(u32, Column, &[u8], &str)> = vec![
            (5, PayeeName, b"Jos\xc3", "text_not_utf8"),
            (6, PayeeName, b"Jos\xe9", "text_not_utf8"),
            (6, Note, b"\xe9", "text_not_utf8"),
            (7, PayeeName, b"A\0B", "text_control"),
            (7, Entitlement, b"A\0B", "text_control"),
            (7, PayeeAccount, b"mobile:+254712345678\0@op", "text_control"),
            (7, PayeeName, b"A\tB", "text_control"),
            (7, PayeeName, "A\u{85}B".as_bytes(), "text_control"),
            (17, PayeeName, b"A\nB", "text_control"),
            (17, Entitlement, b"A\nB", "text_control"),
            (17, Note, b"A\nB", ""),
            (17, Purpose, b"A\r\nB", ""),
            (19, Entitlement, &long.as_bytes()[..65], "text_too_long"),
            (19, Entitlement, &long.as_bytes()[..64], ""),
            (19, Instalment, &long.as_bytes()[..65], "text_too_long"),
            (19, BeneficiaryId, &long.as_bytes()[..65], "text_too_long"),
            (19, PayeeName, &long.as_bytes()[..141], "text_too_long"),
            (19, PayeeAccount, &long.as_bytes()[..129], "text_too_long"),
            (19, Purpose, &long.as_bytes()[..141], "text_too_long"),
            (19, Note, long.as_bytes(), "text_too_long"),
            (19, Note, &long.as_bytes()[..500], ""),
            (21, PayeeName, b"=cmd|' /C calc'!A0", ""),
            (22, PayeeName, "＝1".as_bytes(), ""),
            (46, PayeeAccount, b"iban:DE88370400440532013000@b", "iban_invalid"),
            (47, PayeeAccount, b"iban:DE8937040044053201300@b", "iban_invalid"),
            (48, PayeeAccount, b"mobile:0712345678@b", "phone_not_international"),
            (50, Entitlement, "А1".as_bytes(), "id_mixed_scripts"),
            (50, BeneficiaryId, "١٢٣".as_bytes(), "id_mixed_scripts"),
            (50, Instalment, "1\u{a0}".as_bytes(), "id_mixed_scripts"),
            (50, PayeeAccount, "account:1@bаnk".as_bytes(), "account_malformed"),
            (52, PayeeName, "Ali\u{202e}anima".as_bytes(), "text_direction"),
            (52, PayeeName, "A\u{200b}li".as_bytes(), "text_direction"),
            (52, BeneficiaryId, "1\u{200d}2".as_bytes(), "text_direction"),
            (52, PayeeAccount, "account:1\u{2066}@b".as_bytes(), "text_direction"),
            (52, PayeeName, "می\u{200c}ترا".as_bytes(), ""),
            (52, PayeeName, "ක්\u{200d}ෂ".as_bytes(), ""),
            (0, Entitlement, b" ", "entitlement_missing"),
            (0, BeneficiaryId, b"", "beneficiary_missing"),
            (0, PayeeName, "\u{a0}".as_bytes(), "payee_name_missing"),
            (0, PayeeAccount, b"", "account_malformed"),
            (0, Instalment, b"", ""),
        ];
        for (case, column, cell, wanted) in cases {
            let (payable, written) = with(column, cell, &rules("KES", None));
            let code = payable.map_or_else(|refusal| refusal.code, |_| "");
            let cell = String::from_utf8_lossy(cell);
            assert_eq!((code, written), (wanted, Some(125_050)), "case {case}: {} {cell}", column.name());
        }
    }

    #[test]
    fn ragged_rows_have_no_amount_and_hints_name_the_column() {
        // Case 15.
        for row in ["HH-1,1,3,A,mobile:+254712345678@b,1,KES", "HH-1,1,3,A,mobile:+254712345678@b,1,KES,,,"] {
            let (payable, written) = read_row(row.as_bytes(), &rules("KES", None));
            assert_eq!((payable.unwrap_err().code, written), ("columns_ragged", None), "{row}");
        }
        for (column, _) in GOOD {
            let refusal = with(column, "\u{202e}".as_bytes(), &rules("KES", None)).0.unwrap_err();
            assert!(refusal.text.starts_with(column.name()), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn any_row_is_answered_and_totals_agree(cells in prop::collection::vec("\\PC{0,20}|[-0-9.]{0,40}", 9)) {
            let mut file = csv::WriterBuilder::new().from_writer(Vec::new());
            file.write_record(&cells).unwrap();
            let row = file.into_inner().unwrap();
            read_row(&row, &rules("KES", None)).0.ok();
        }

        #[test]
        fn a_payable_amount_is_the_written_amount(cell in "[0-9]{0,22}(\\.[0-9]{0,4})?|[-+0-9.,e ]{0,12}") {
            let (payable, written) = with(Column::Amount, cell.as_bytes(), &rules("KES", None));
            if let Ok(payable) = payable {
                prop_assert!(payable.amount.minor > 0);
                prop_assert_eq!(written, Some(payable.amount.minor));
            }
        }
    }
}

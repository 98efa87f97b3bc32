//! MT940 as banks write it: marks, references, wraps, envelopes, and everything that is wrong with them.

use proptest::prelude::*;

use super::*;
use crate::contract::{Check, Direction, Reference, StatementEnd};
use crate::kept::Kept;

fn kept(text: &[u8], mode: Mode) -> (Kept, Result<(), ReadError>) {
    let mut kept = Kept::default();
    let done = read(text, mode, &mut kept);
    (kept, done)
}

fn whole(text: &str, mode: Mode) -> Kept {
    let (kept, done) = kept(text.as_bytes(), mode);
    done.unwrap();
    kept
}

const PLAIN: &str = ":20:STMT1\r\n:25:KE123/0011\r\n:28C:00012/001\r\n:60F:C261122KES1000,00\r\n\
:61:2611231123DS250,50NTRF006RBCDC1JBZJ4HM//BANKREF1\r\nsupplementary\r\n:86:/EREF/006RBCDC1JBZJ4HM/IBAN/KE77/NAME/AMINA\r\n\
:61:261123RD100,NTRFNONREF\r\n:86:/RTRN/AC04/REMI/closed\r\n\
:61:2611231123C0,50NCHGNONREF\r\n:61:261123RC50,NMSCX\r\n:62F:C261123KES800,00\r\n:64:C261123KES800,00\r\n-\r\n";

#[test]
fn marks_have_the_effect_they_name_and_the_sum_holds() {
    for mode in [Mode::Lenient, Mode::Strict] {
        let kept = whole(PLAIN, mode);
        let head = &kept.heads[0];
        assert_eq!((head.id.as_str(), head.account.as_str()), ("STMT1", "KE123/0011"));
        assert_eq!((head.sequence, head.page), (Some(12), Some(1)));
        assert_eq!(head.opening.unwrap().money.minor, 100_000);
        let told =
            kept.entries.iter().map(|entry| (entry.direction, entry.is_reversal, entry.amount.minor, entry.kind));
        use Direction::{Credit, Debit};
        let wanted = [
            (Debit, false, 25_050, EntryKind::Payment),
            (Credit, true, 10_000, EntryKind::Return),
            (Credit, false, 50, EntryKind::Fee),
            (Debit, true, 5_000, EntryKind::Return),
        ];
        assert!(told.eq(wanted));
        let end = &kept.ends[0];
        assert_eq!((end.entries, end.faults, end.check), (4, 0, Check::Holds));
        assert_eq!((end.debits_minor, end.credits_minor, end.is_last_page), (30_050, 10_050, Some(true)));
    }
}

#[test]
fn a_payment_is_named_by_its_line_and_its_text() {
    let kept = whole(PLAIN, Mode::Strict);
    let (paid, back) = (&kept.details[0], &kept.details[1]);
    assert_eq!(paid.reference(), Reference::parse("006RBCDC1JBZJ4HM"));
    assert_eq!(paid.instruction_id, "006RBCDC1JBZJ4HM");
    assert_eq!((paid.bank_reference.as_str(), paid.counterparty_account.as_str()), ("BANKREF1", "KE77"));
    assert_eq!(paid.counterparty_name, "AMINA");
    assert!(paid.text.ends_with("supplementary"));
    assert_eq!(back.return_reason.as_ref().unwrap().code, "ac04");
    assert_eq!(back.instruction_id, "");
    assert_eq!(kept.entries[0].booked_on, chrono::NaiveDate::from_ymd_opt(2026, 11, 23));
}

#[test]
fn envelopes_and_several_statements_are_taken_apart() {
    let second = PLAIN.replace("STMT1", "STMT2").replace("00012/001", "13");
    let text = format!(
        "{{1:F01BANKKENAAXXX0000000000}}{{2:O9401200}}{{4:\r\n{}{{5:{{CHK:1}}}}{{1:F01}}{{2:I}}{{4:\r\n{}",
        PLAIN.replace("-\r\n", "-}"),
        second.replace("-\r\n", "-}{5:}\r\n")
    );
    let kept = whole(&text, Mode::Strict);
    assert_eq!(kept.heads.iter().map(|head| head.id.as_str()).collect::<Vec<_>>(), ["STMT1", "STMT2"]);
    assert!(kept.ends.iter().all(|end| end.check == Check::Holds));
    // Without any mark between them the next `:20:` is what ends a statement.
    let run_on = format!("{}{second}", PLAIN.replace("-\r\n", ""));
    assert_eq!(whole(&run_on, Mode::Lenient).ends.len(), 2);
}

#[test]
fn pages_open_and_close_with_interim_balances() {
    let page = PLAIN.replace(":60F:", ":60M:").replace(":62F:", ":62M:").replace("00012/001", "00012/002");
    let kept = whole(&page, Mode::Strict);
    assert_eq!(
        (kept.heads[0].page, kept.ends[0].is_last_page, kept.ends[0].check),
        (Some(2), Some(false), Check::Holds)
    );
}

#[test]
fn one_minor_unit_off_is_seen() {
    let kept = whole(&PLAIN.replace(":62F:C261123KES800,00", ":62F:C261123KES799,99"), Mode::Lenient);
    assert_eq!(kept.ends[0].check, Check::Differs(-1));
    let overdrawn = PLAIN.replace(":60F:C261122KES1000,00", ":60F:D261122KES1000,").replace("KES800,00", "KES1200,");
    let kept = whole(&overdrawn.replace(":62F:C", ":62F:D"), Mode::Lenient);
    assert_eq!((kept.heads[0].opening.unwrap().money.minor, kept.ends[0].check), (-100_000, Check::Holds));
}

#[test]
fn a_bad_entry_is_a_fault_and_the_rest_goes_on() {
    for (bad, code) in [
        ("261123D10,005NTRFX", "amount_decimals"),
        ("261123D,NTRFX", "amount_malformed"),
        ("261123DNTRFX", "amount_malformed"),
        ("261323D10,NTRFX", "date_malformed"),
        ("2611X", "date_malformed"),
        ("261123X10,NTRFX", "mark_unknown"),
        ("261123D99999999999999999999,NTRFX", "amount_too_large"),
        ("é", "date_malformed"),
        ("", "date_malformed"),
    ] {
        let text = PLAIN.replace("261123RD100,NTRFNONREF", bad);
        let kept = whole(&text, Mode::Lenient);
        assert_eq!(kept.faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), [code], "{bad}");
        assert_eq!((kept.faults[0].entry_position, kept.entries.len()), (2, 3), "{bad}");
        assert_eq!(kept.entries[1].position, 3, "{bad}");
        assert_eq!(kept.ends[0].check, Check::Unproven("unreadable_entries"), "{bad}");
    }
}

#[test]
fn long_and_wrapped_references_survive_when_lenient() {
    let long = PLAIN.replace("006RBCDC1JBZJ4HM//BANKREF1", "1733456789012345678//0a1b2c");
    let kept = whole(&long, Mode::Lenient);
    assert_eq!(kept.details[0].instruction_id, "1733456789012345678");
    assert_eq!(kept.details[0].bank_reference, "0a1b2c");
    let (strict, done) = self::kept(long.as_bytes(), Mode::Strict);
    done.unwrap();
    assert_eq!(strict.faults[0].code, "reference_too_long");
    // The text is cut after 65 characters, in the middle of the reference.
    let filler = "x".repeat(57);
    let wrapped =
        PLAIN.replace("/EREF/006RBCDC1JBZJ4HM/IBAN/KE77/NAME/AMINA", &format!("{filler} 006RBCD\r\nC1JBZJ4HM"));
    let wrapped = wrapped.replace("NTRF006RBCDC1JBZJ4HM", "NTRFNONREF");
    assert_eq!(whole(&wrapped, Mode::Lenient).details[0].reference(), Reference::parse("006RBCDC1JBZJ4HM"));
}

#[test]
fn numbered_texts_are_read() {
    let text =
        "159?00RETOURE?10123?20EREF+006RBCDC1JBZJ4HM?21SVWZ+Konto?22 erloschen?30COBADEFF?31DE89?32ABEBE?33 BIKILA";
    let kept = whole(&PLAIN.replace("/RTRN/AC04/REMI/closed", text), Mode::Lenient);
    let back = &kept.details[1];
    assert_eq!(back.end_to_end_id, "006RBCDC1JBZJ4HM");
    assert_eq!((back.counterparty_account.as_str(), back.counterparty_name.as_str()), ("DE89", "ABEBE BIKILA"));
    assert_eq!((back.kind, back.return_reason.as_ref().unwrap().code.as_str()), (EntryKind::Return, "unstated"));
}

#[test]
fn booking_days_find_their_year() {
    let text = PLAIN.replace("2611231123DS", "2701021231DS").replace("2611231123C", "2612310102C");
    let kept = whole(&text, Mode::Lenient);
    assert_eq!(kept.entries[0].booked_on, chrono::NaiveDate::from_ymd_opt(2026, 12, 31));
    assert_eq!(kept.entries[2].booked_on, chrono::NaiveDate::from_ymd_opt(2027, 1, 2));
}

#[test]
fn broken_files_are_refused_or_unproven() {
    for (text, mode, code) in [
        ("", Mode::Lenient, "no_statement"),
        ("hello\r\n", Mode::Lenient, "no_statement"),
        ("hello\r\n", Mode::Strict, "malformed"),
        (":20:A\r\n:25:B\r\n:28C:1\r\n:60F:C261122KES1,\r\n", Mode::Strict, "field_missing"),
        (":20:A\r\n:77:x\r\n", Mode::Strict, "field_unknown"),
    ] {
        assert_eq!(kept(text.as_bytes(), mode).1.unwrap_err().code(), code, "{text}");
    }
    let cut = PLAIN.split(":62F:").next().unwrap();
    assert_eq!(whole(cut, Mode::Lenient).ends[0].check, Check::Unproven("no_closing_balance"));
    let long = format!(":20:A\r\n:86:{}", "x".repeat(5_000));
    assert_eq!(kept(long.as_bytes(), Mode::Lenient).1.unwrap_err().code(), "too_long");
    let latin = PLAIN.replace("AMINA", "AM~NA").into_bytes().into_iter().map(|b| if b == b'~' { 0xcd } else { b });
    let latin = latin.collect::<Vec<_>>();
    assert_eq!(kept(&latin, Mode::Strict).1.unwrap_err().code(), "encoding");
    assert_eq!(kept(&latin, Mode::Lenient).0.details[0].counterparty_name, "AMÍNA");
}

#[test]
fn an_error_of_the_keeper_stops_the_reading() {
    struct Full;
    impl StatementSink for Full {
        fn head(&mut self, _: &StatementHead) -> anyhow::Result<()> {
            Ok(())
        }
        fn entry(&mut self, _: &Entry) -> anyhow::Result<()> {
            anyhow::bail!("full")
        }
        fn detail(&mut self, _: &EntryDetail) -> anyhow::Result<()> {
            panic!("told after it asked to stop")
        }
        fn fault(&mut self, _: &EntryFault) -> anyhow::Result<()> {
            Ok(())
        }
        fn end(&mut self, _: &StatementEnd) -> anyhow::Result<()> {
            panic!("told after it asked to stop")
        }
    }
    assert_eq!(read(PLAIN.as_bytes(), Mode::Lenient, &mut Full).unwrap_err().code(), "stopped");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), strict in any::<bool>()) {
        let mode = if strict { Mode::Strict } else { Mode::Lenient };
        let _ = kept(&bytes, mode);
    }

    #[test]
    fn no_change_makes_it_panic(
        changes in prop::collection::vec((0..PLAIN.len(), any::<u8>(), 0..3_u8), 1..8),
        strict in any::<bool>(),
    ) {
        let mut bytes = PLAIN.as_bytes().to_vec();
        for (at, byte, kind) in changes {
            let at = at.min(bytes.len().saturating_sub(1));
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let mode = if strict { Mode::Strict } else { Mode::Lenient };
        let (kept, done) = kept(&bytes, mode);
        if done.is_ok() {
            prop_assert_eq!(kept.heads.len(), kept.ends.len());
            let told: u64 = kept.ends.iter().map(|end| end.entries).sum();
            prop_assert_eq!(told, kept.entries.len() as u64);
        }
    }

    #[test]
    fn what_adds_up_is_found_to_add_up(
        opening in -1_000_000_i64..1_000_000,
        sums in prop::collection::vec((1..1_000_000_i64, 0..4_usize), 0..20),
    ) {
        let marks = ["C", "D", "RC", "RD"];
        let amount = |minor: i64| format!("{},{:02}", minor / 100, minor % 100);
        let balance = |minor: i64| {
            format!("{}261123KES{}", if minor < 0 { "D" } else { "C" }, amount(minor.abs()))
        };
        let mut text = format!(":20:A\n:25:B\n:28C:1\n:60F:{}\n", balance(opening));
        let mut closing = opening;
        for (minor, mark) in &sums {
            closing += if [0, 3].contains(mark) { *minor } else { -minor };
            text += &format!(":61:2611231123{}{}NTRFREF//B\n:86:text\n", marks[*mark], amount(*minor));
        }
        text += &format!(":62F:{}\n-\n", balance(closing));
        let (kept, done) = kept(text.as_bytes(), Mode::Strict);
        prop_assert!(done.is_ok());
        prop_assert_eq!(kept.ends[0].check, Check::Holds);
        prop_assert_eq!(kept.entries.len(), sums.len());
    }
}

//! Days that pass: statements that add up, what comes back, and what a restart knows.

use std::time::Duration;

use super::*;
use crate::contract::{Direction, EntryKind};

const FORMS: [StatementForm; 3] = [StatementForm::Camt053V02, StatementForm::Camt053V08, StatementForm::Mt940];

#[test]
fn every_form_of_statement_adds_up_and_tells_every_payment() {
    for form in FORMS {
        for batch in [false, true] {
            let mut world = World::new(&format!("form-{form:?}-{batch}"), |settings| {
                settings.statement = form;
                settings.batch_booking = batch;
                settings.notices = true;
                settings.fee_minor = 250;
            });
            let order = Order::many("FILE1", 100);
            world.pay(&order);
            assert_eq!(world.end_day(), date("2026-11-26"));
            assert_eq!(world.end_day(), date("2026-11-27"));
            let statements = world.statements();
            let [first, second] = statements.as_slice() else { panic!("{} statements", statements.len()) };
            assert_eq!(minor(first.heads[0].opening), 100_000_000_000_000);
            assert_eq!(minor(first.ends[0].closing), 100_000_000_000_000 - order.sum() - 250);
            assert_eq!(minor(second.heads[0].opening), minor(first.ends[0].closing));
            assert_eq!((first.heads[0].sequence, second.heads[0].sequence), (Some(1), Some(2)));
            assert_eq!(first.heads[0].account, DEBTOR);
            assert_eq!(first.entries.len(), if batch { 2 } else { 101 });
            assert!(first.entries.iter().any(|entry| entry.kind == EntryKind::Fee && entry.amount.minor == 250));
            told(&world, &order, first, (form, batch));
            let paid: Vec<_> = world.bank.ledger().iter().map(as_ordered).collect();
            assert_eq!(paid, order.rows);
        }
    }
}

fn as_ordered(credit: &BankCredit) -> (String, String, i64) {
    (credit.reference.to_string(), credit.account.to_string(), credit.amount.minor)
}

/// Every payment of the order is told, in the statement or in the notice.
fn told(world: &World, order: &Order, first: &Kept, (form, batch): (StatementForm, bool)) {
    let notices = world.out("CAMT054");
    assert_eq!(notices.len(), usize::from(batch));
    let notice = notices.first().map(|path| statement(path));
    let details = &notice.as_ref().unwrap_or(first).details;
    let named: Vec<_> = details.iter().map(|one| one.end_to_end_id.as_str()).filter(|id| !id.is_empty()).collect();
    let wanted: Vec<_> = order.rows.iter().map(|(reference, ..)| reference.as_str()).collect();
    assert_eq!(named, wanted);
    if batch && form != StatementForm::Mt940 {
        let batches = first.entries.iter().filter_map(|entry| entry.batch.as_ref()).collect::<Vec<_>>();
        let [total] = batches.as_slice() else { panic!("{} batches", batches.len()) };
        assert_eq!((total.count, total.total), (Some(100), Some(money(order.sum()))));
        assert_eq!((total.message_id.as_str(), total.payment_information_id.as_str()), ("FILE1", "FILE1-1"));
    }
}

#[test]
fn ends_of_accounts_call_for_outcomes() {
    for form in FORMS {
        let mut world = World::new(&format!("ends-{form:?}"), |settings| settings.statement = form);
        let ends = [
            ("PLAIN", PLAIN),
            ("UNKNOWN", UNKNOWN_ACCOUNT),
            ("CLOSED", CLOSED_ACCOUNT),
            ("FUNDS", OUT_OF_FUNDS),
            ("ODD", UNKNOWN_CODE),
            ("LATE", LATE_REJECTION),
            ("BACK1", RETURNED_NEXT_DAY),
            ("BACK3", RETURNED_THIRD_DAY),
            ("NEVER", NEVER_BOOKED),
            ("NEXT", BOOKED_LATE),
            ("SHORT", SHOWN_SHORT),
        ];
        let rows: Vec<_> = ends.iter().zip(1..).map(|((name, end), n)| (*name, iban_with(end, n), 1_000)).collect();
        world.pay(&Order::new("F1", &rows));
        let rejected: Vec<_> = world.bank.rejections().iter().map(|one| (&*one.reference, &*one.code)).collect();
        assert_eq!(rejected, [("UNKNOWN", "AC01"), ("CLOSED", "AC04"), ("FUNDS", "AM04"), ("ODD", "ZZ99")]);
        assert!(world.status().rows().contains(&("LATE", "ACSP")), "it looks accepted");
        assert_eq!((world.bank.summary().credits, world.bank.waiting()), (6, 1));

        world.end_day();
        assert_eq!(world.status().rows(), [("LATE", "RJCT")]);
        assert_eq!(world.status().group(), "PART");
        assert_eq!(&*world.bank.rejections()[4].code, "AC06");
        for _ in 0..3 {
            world.end_day();
        }
        let days: Vec<Vec<_>> = world.statements().iter().map(shown).collect();
        let debit = |name: &str, minor| (name.to_owned(), Direction::Debit, minor, String::new());
        let credit = |name: &str, code: &str| (name.to_owned(), Direction::Credit, 1_000, code.to_owned());
        let first = ["PLAIN", "BACK1", "BACK3"].map(|name| debit(name, 1_000));
        assert_eq!(days[0], [first.as_slice(), &[debit("SHORT", 999)]].concat());
        assert_eq!(days[1], [debit("NEXT", 1_000), credit("BACK1", "ac04")]);
        assert_eq!(days[2], []);
        assert_eq!(days[3], [credit("BACK3", "md07")]);
        let net = world.bank.net();
        assert_eq!((net["BACK1"].credits, net["NEVER"].sum_minor, net["SHORT"].sum_minor), (0, 1_000, 1_000));
        assert_eq!(world.bank.ledger()[2].returned, Some((date("2026-11-30"), "MD07".into())));

        world.bank.heal();
        world.end_day();
        assert_eq!(shown(world.statements().last().unwrap()), [debit("NEVER", 1_000)]);
    }
}

/// Reference, direction, sum and return reason of every entry with a detail.
fn shown(kept: &Kept) -> Vec<(String, Direction, i64, String)> {
    let entry = |position: u64| kept.entries.iter().find(|entry| entry.position == position).unwrap();
    let details = kept.details.iter().map(|detail| {
        let entry = entry(detail.entry_position);
        let code = detail.return_reason.as_ref().map(|reason| reason.code.clone()).unwrap_or_default();
        (detail.end_to_end_id.clone(), entry.direction, entry.amount.minor, code)
    });
    details.collect()
}

#[test]
fn money_that_comes_back_can_be_a_reversed_debit() {
    for form in FORMS {
        let mut world = World::new(&format!("reversal-{form:?}"), |settings| {
            settings.statement = form;
            settings.reversals = true;
        });
        world.pay(&Order::new("F1", &[("A", account_with(RETURNED_NEXT_DAY, 1), 700)]));
        world.end_day();
        world.end_day();
        let statements = world.statements();
        let entry = &statements[1].entries[0];
        assert!(entry.is_reversal);
        assert_eq!((entry.direction, entry.amount), (Direction::Credit, money(700)));
        assert_eq!(statements[1].details[0].end_to_end_id, "A");
    }
}

#[test]
fn a_day_that_has_not_come_is_waited_for_and_one_that_is_past_is_today() {
    let mut world = World::new("dates", |settings| settings.first_day = date("2026-11-28"));
    assert_eq!(world.bank.day(), date("2026-11-30"), "a bank does not open on a Saturday");
    for (id, day) in [("PAST", "2026-11-02"), ("SOON", "2026-12-02"), ("SATURDAY", "2026-12-05")] {
        world.pay(&Order { day: day.to_owned(), ..Order::many(id, 2) });
    }
    assert_eq!((world.bank.summary().credits, world.bank.waiting()), (2, 4));
    world.reopen();
    let mut days = Vec::new();
    while world.bank.waiting() > 0 {
        days.push(world.end_day());
    }
    assert_eq!(days.last(), Some(&date("2026-12-07")));
    let paid: Vec<_> = world.bank.ledger().iter().step_by(2).map(|credit| credit.day).collect();
    assert_eq!(paid, ["2026-11-30", "2026-12-02", "2026-12-07"].map(date));
}

#[test]
fn what_the_account_does_not_hold_is_not_paid() {
    let mut world = World::new("float", |settings| settings.float = money(250));
    let rows: Vec<_> = ["A", "B", "C"].iter().map(|name| (*name, account_with(PLAIN, 1), 100)).collect();
    world.pay(&Order::new("F1", &rows));
    assert_eq!(world.status().rows(), [("A", "ACSP"), ("B", "ACSP"), ("C", "RJCT")]);
    assert_eq!(world.bank.summary().float_minor, 50);
    let later = Order { day: "2026-11-26".to_owned(), ..Order::new("F2", &[("D", account_with(PLAIN, 1), 100)]) };
    world.pay(&later);
    assert_eq!(world.status().rows(), [("D", "ACCP")]);
    world.end_day();
    assert_eq!(world.statuses().iter().map(|status| status.rows().len()).sum::<usize>(), 5);
    let codes: Vec<_> = world.bank.rejections().iter().map(|one| &*one.code).collect();
    assert_eq!(codes, ["AM04", "AM04"]);
}

#[test]
fn a_bank_may_confirm_what_it_executed() {
    let mut world = World::new("confirms", |settings| settings.confirms = true);
    world.pay(&Order::many("F1", 2));
    world.pay(&Order::many("F2", 1));
    world.end_day();
    let statuses = world.statuses();
    let rows: Vec<_> = statuses.iter().map(Status::rows).collect();
    assert_eq!(rows[1], [("F1R000001", "ACSC"), ("F1R000002", "ACSC")]);
    assert_eq!((rows[3].as_slice(), statuses[3].group()), ([("F2R000001", "ACSC")].as_slice(), "ACSC"));
    world.end_day();
    assert_eq!(world.statuses().len(), 4);
}

#[test]
fn a_restart_knows_what_was_executed_and_goes_on() {
    let mut world = World::new("restart", |_| {});
    let rows = [("A", account_with(RETURNED_NEXT_DAY, 1), 100), ("B", account_with(NEVER_BOOKED, 2), 100)];
    world.pay(&Order::new("F1", &rows));
    let (ledger, summary) = (world.bank.ledger().to_vec(), world.bank.summary());
    world.reopen();
    assert_eq!((world.bank.ledger(), world.bank.summary()), (ledger.as_slice(), summary));
    world.pay(&Order::new("F1", &rows));
    assert_eq!((world.status().group(), world.bank.summary().credits), ("RJCT", 2));
    world.end_day();
    world.reopen();
    assert_eq!(world.bank.day(), date("2026-11-26"));
    assert_eq!(world.bank.summary().returns, 1);
    world.end_day();
    let statements = world.statements();
    assert_eq!(statements[1].heads[0].sequence, Some(2));
    assert_eq!(minor(statements[1].heads[0].opening), minor(statements[0].ends[0].closing));
}

#[test]
fn a_bank_that_dies_in_the_middle_of_a_file_begins_it_anew_or_ends_it() {
    let mut world = World::new("dies", |_| {});
    world.pay(&Order::many("F1", 3));
    let ledger = world.folder.0.join(".ledger");
    let whole = fs::read_to_string(&ledger).unwrap();
    let (status, done) = (world.out("PAIN002").remove(0), world.folder.0.join("in/done/F1.xml"));
    // Killed before the block held: the file lies where it lay.
    fs::rename(&done, world.folder.0.join("in/F1.xml")).unwrap();
    fs::remove_file(&status).unwrap();
    let cut = whole.rfind("{\"credit\"").unwrap() + 20;
    fs::write(&ledger, &whole[..cut]).unwrap();
    world.reopen();
    assert_eq!(world.bank.summary().credits, 0);
    assert_eq!(world.bank.take().unwrap(), 1);
    assert_eq!((world.bank.summary().credits, world.bank.summary().repeated_references), (3, 0));
    // Killed after it held and before anything was moved.
    fs::rename(&done, world.folder.0.join("in/F1.xml")).unwrap();
    fs::rename(&status, world.folder.0.join(".desk").join(name_of(&status))).unwrap();
    let whole = fs::read_to_string(&ledger).unwrap();
    fs::write(&ledger, whole.strip_suffix("\"settled\"\n").unwrap()).unwrap();
    world.reopen();
    assert!(status.exists() && done.exists());
    assert_eq!((world.bank.take().unwrap(), world.bank.summary().credits), (0, 3));
}

/// How often a running bank is looked at before it counts as not running.
const LOOKS_MAX: u32 = 100_000_000;

#[test]
fn a_house_takes_files_by_itself() {
    let folder = Folder::new("house");
    let settings = BankSettings { first_day: date(FIRST_DAY), ..BankSettings::new(folder.0.clone(), kes()) };
    let house = BankHouse::start(settings, Duration::from_millis(1), Duration::from_millis(1)).unwrap();
    fs::write(folder.0.join("in/F1.tmp"), Order::many("F1", 1).text()).unwrap();
    fs::rename(folder.0.join("in/F1.tmp"), folder.0.join("in/F1.xml")).unwrap();
    let has_paid = (0..LOOKS_MAX).any(|_| {
        std::thread::yield_now();
        house.with(|bank| !bank.ledger().is_empty() && bank.day() > date(FIRST_DAY))
    });
    assert!(has_paid);
    assert_eq!(house.with(|bank| bank.net().len()), 1);
    house.stop().unwrap();
}

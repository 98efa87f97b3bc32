//! What goes wrong at the bank when it is told to.

use super::*;
use crate::contract::Direction;

/// Three days with two payments on the first of them.
fn three_days(name: &str, faults: BankFaults) -> World {
    let mut world = World::with_faults(name, faults);
    world.pay(&Order::many("F1", 2));
    for _ in 0..3 {
        world.end_day();
    }
    world
}

fn numbers(world: &World) -> Vec<u64> {
    world.statements().iter().map(|kept| kept.heads[0].sequence.unwrap()).collect()
}

#[test]
fn a_statement_that_is_missing_comes_when_the_bank_is_healed() {
    let mut world = three_days("gap", BankFaults { statement_gap: 2, ..BankFaults::default() });
    assert_eq!(numbers(&world), [1, 3]);
    world.reopen();
    world.bank.heal();
    assert_eq!(world.bank.take().unwrap(), 0);
    assert_eq!(numbers(&world), [1, 2, 3]);
}

#[test]
fn statements_come_late_and_twice() {
    let mut world = three_days("lag", BankFaults { statement_lag_days: 2, ..BankFaults::default() });
    assert_eq!(numbers(&world), [1]);
    world.end_day();
    assert_eq!(numbers(&world), [1, 2]);

    let world = three_days("duplicate", BankFaults { duplicate_statement: true, ..BankFaults::default() });
    let (firsts, copies) = (world.out("CAMT053"), world.out("AGAIN_CAMT053"));
    assert_eq!((firsts.len(), copies.len()), (3, 3));
    for (first, copy) in firsts.iter().zip(&copies) {
        assert_eq!(fs::read(first).unwrap(), fs::read(copy).unwrap());
    }
}

#[test]
fn a_statement_comes_again_with_what_it_lacked() {
    let world = three_days("amended", BankFaults { amended_statement: 1, ..BankFaults::default() });
    let statements = world.statements();
    let amended = statement(&world.out("AMENDED")[0]);
    assert_eq!((statements[0].entries.len(), amended.entries.len()), (1, 2));
    assert_eq!(statements[0].heads, amended.heads, "it is the same statement");
    assert_eq!(minor(statements[1].heads[0].opening), minor(amended.ends[0].closing));
}

#[test]
fn lines_are_skipped_and_sums_are_wrong_and_the_ledger_knows_better() {
    let faults = BankFaults { skip_entry_per_mille: 1000, wrong_amount_per_mille: 1000, ..BankFaults::default() };
    for batch in [false, true] {
        let mut world = World::new(&format!("skip-{batch}"), |settings| {
            settings.faults = faults.clone();
            settings.batch_booking = batch;
        });
        world.pay(&Order::many("F1", 2));
        world.end_day();
        world.end_day();
        let statements = world.statements();
        assert_eq!((statements[0].entries.len(), statements[1].entries.len()), (0, 2));
        let shown: i64 = statements[1].entries.iter().map(|entry| entry.amount.minor).sum();
        assert_eq!(shown, world.bank.summary().sum_minor - 2);
    }
}

#[test]
fn nobody_ordered_these_entries() {
    let faults = BankFaults { foreign_debits_per_day: 2, foreign_credits_per_day: 1, ..BankFaults::default() };
    let world = three_days("foreign", faults);
    for (day, kept) in world.statements().iter().enumerate() {
        let count = |direction| kept.entries.iter().filter(|entry| entry.direction == direction).count();
        assert_eq!(count(Direction::Debit), if day == 0 { 4 } else { 2 });
        assert_eq!(count(Direction::Credit), 1);
    }
    assert_eq!(world.bank.summary().credits, 2);
}

#[test]
fn statuses_get_lost_come_twice_and_do_not_say_what_of() {
    let mut world = three_days("lost", BankFaults { status_lost_per_mille: 1000, ..BankFaults::default() });
    assert_eq!((world.statuses().len(), world.bank.summary().credits), (0, 2));
    world.bank.heal();
    world.end_day();
    assert_eq!(world.statuses().len(), 1);

    let faults = BankFaults { status_twice: true, status_not_provided: true, ..BankFaults::default() };
    let world = three_days("unnamed", faults);
    assert_eq!((world.out("PAIN002").len(), world.out("AGAIN_PAIN002").len()), (1, 1));
    assert_eq!(world.status().heads[0].original_message_id, None);
    assert!(name_of(&world.out("PAIN002")[0]).contains("F1"), "the name tells what it is about");
}

#[test]
fn the_first_files_are_refused_or_lost() {
    let mut world = World::with_faults("refuse", BankFaults { refuse_first_files: 1, ..BankFaults::default() });
    world.pay(&Order::many("F1", 2));
    assert_eq!((world.status().group(), world.bank.summary().credits), ("RJCT", 0));
    world.reopen();
    world.pay(&Order::many("F1", 2));
    assert_eq!((world.status().group(), world.bank.summary().credits), ("ACCP", 2));

    let mut world = World::with_faults("lose", BankFaults { lose_first_files: 1, ..BankFaults::default() });
    world.pay(&Order::many("F1", 2));
    world.pay(&Order::many("F2", 2));
    world.end_day();
    assert_eq!((world.statuses().len(), world.bank.summary().credits), (1, 2));
    world.reopen();
    world.bank.heal();
    world.bank.take().unwrap();
    assert_eq!((world.statuses().len(), world.bank.summary().credits), (2, 4));
    world.bank.heal();
    world.bank.take().unwrap();
    assert_eq!(world.bank.summary().credits, 4, "what was found is not found again");
}

#[test]
fn fates_do_not_depend_on_the_order_of_arrival() {
    let faults = BankFaults {
        seed: 3,
        reject_per_mille: 100,
        late_reject_per_mille: 100,
        return_per_mille: 200,
        return_after_days: 2,
        ..BankFaults::default()
    };
    let outcomes = |name: &str, turn: bool| {
        let mut world = World::with_faults(name, faults.clone());
        let mut order = Order::many("F1", 200);
        if turn {
            order.rows.reverse();
        }
        world.pay(&order);
        for _ in 0..3 {
            world.end_day();
        }
        let mut rejected: Vec<_> = world.bank.rejections().iter().map(|one| one.reference.clone()).collect();
        let back = world.bank.ledger().iter().filter(|credit| credit.returned.is_some());
        let mut back: Vec<_> = back.map(|credit| credit.reference.clone()).collect();
        rejected.sort();
        back.sort();
        let summary = world.bank.summary();
        assert_eq!(summary.credits + rejected.len(), 200);
        assert_eq!((summary.returns, summary.paid_references), (back.len(), 200 - rejected.len() - back.len()));
        (rejected, back)
    };
    let first = outcomes("order-1", false);
    assert!(first.0.len() > 20 && first.1.len() > 15);
    assert_eq!(first, outcomes("order-2", true));
}

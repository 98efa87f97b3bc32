//! Statements that are late, missing, doubled, changed, or say what nobody ordered.

use paymaster::domain::disbursement::State;
use paymaster::domain::payroll::PayrollState;
use paymaster_connectors::sandbox::bank::{BOOKED_LATE, BankFaults, BankSettings, NEVER_BOOKED, PLAIN};
use serde_json::json;

use super::stage::{Stage, plain};
use crate::on_both;

fn faults(faults: BankFaults) -> impl FnOnce(&mut BankSettings) {
    move |bank| bank.faults = faults
}

on_both! {
    async fn a_statement_that_comes_twice_is_taken_once(database) {
        let doubled = faults(BankFaults { duplicate_statement: true, ..BankFaults::none() });
        let mut stage = Stage::with(database, doubled, json!({})).await;
        let payroll = stage.released(&plain(3)).await;
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 3);
        assert_eq!(stage.state(payroll.id).await, PayrollState::Reconciled);
        assert!(stage.exceptions().await.is_empty());
        let statements = stage.engine().statements(None, 0, 100).await.unwrap();
        assert_eq!(statements.iter().filter(|one| one.standing == "counted").count(), 1, "{statements:?}");
    }
}

on_both! {
    async fn a_gap_is_told_and_closes_by_itself_when_what_was_missing_comes(database) {
        let gap = faults(BankFaults { statement_gap: 2, ..BankFaults::none() });
        let mut stage = Stage::with(database, gap, json!({})).await;
        let first = stage.released(&plain(2)).await;
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.state(first.id).await, PayrollState::Reconciled);
        stage.day_ends().await;
        stage.day_ends().await;
        assert_eq!(stage.exceptions().await, ["statement_gap"]);
        stage.bank.heal();
        stage.answered().await;
        stage.day_ends().await;
        assert!(stage.exceptions().await.is_empty(), "{:?}", stage.exceptions().await);
        assert!(stage.engine().statements(None, 0, 100).await.unwrap().iter().all(|one| one.is_reconciled()));
        stage.books_agree(first.id).await;
    }
}

on_both! {
    async fn what_nobody_ordered_is_told_and_the_rest_goes_on(database) {
        let foreign = faults(BankFaults { foreign_debits_per_day: 2, foreign_credits_per_day: 1, ..BankFaults::none() });
        let mut stage = Stage::with(database, foreign, json!({})).await;
        let payroll = stage.released(&plain(3)).await;
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 3);
        assert_eq!(stage.exceptions().await, ["unknown_credit", "unknown_debit", "unknown_debit"]);
        let statement = stage.engine().statements(None, 0, 10).await.unwrap().remove(0);
        assert_eq!(statement.unknown.0, 3);
        assert!(!statement.is_reconciled());
        stage.books_agree(payroll.id).await;
    }
}

on_both! {
    async fn days_may_pass_before_a_statement_comes_and_a_line_may_come_later(database) {
        let late = faults(BankFaults { statement_lag_days: 2, ..BankFaults::default() });
        let mut stage = Stage::with(database, late, json!({})).await;
        let payroll = stage.released(&[PLAIN, BOOKED_LATE, NEVER_BOOKED]).await;
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 0);
        for _ in 0..4 {
            stage.day_ends().await;
        }
        assert_eq!(stage.count(payroll.id, State::Settled).await, 2);
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 1, "what is not booked is not paid");
        assert_eq!(stage.state(payroll.id).await, PayrollState::Released);
        stage.bank.heal();
        for _ in 0..4 {
            stage.day_ends().await;
        }
        assert_eq!(stage.state(payroll.id).await, PayrollState::Reconciled, "{:?}", stage.exceptions().await);
        stage.books_agree(payroll.id).await;
    }
}

on_both! {
    async fn charges_are_charges(database) {
        let mut stage = Stage::with(database, |bank| bank.fee_minor = 250, json!({})).await;
        let payroll = stage.released(&plain(2)).await;
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.state(payroll.id).await, PayrollState::Reconciled);
        assert!(stage.exceptions().await.is_empty());
        let statement = stage.engine().statements(None, 0, 10).await.unwrap().remove(0);
        assert_eq!(statement.fees_minor, 250);
    }
}

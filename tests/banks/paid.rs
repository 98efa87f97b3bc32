//! A payroll over the bank's files, from the file that leaves to the statement that proves it, and every way in which a
//! payment departs from that.

use std::collections::BTreeMap;

use paymaster::domain::disbursement::State;
use paymaster::domain::payroll::PayrollState;
use paymaster_connectors::sandbox::bank::BankFaults;
use paymaster_connectors::sandbox::bank::{
    CLOSED_ACCOUNT, LATE_REJECTION, PLAIN, RETURNED_NEXT_DAY, Reporting, SHOWN_SHORT, StatementForm, StatusVersion,
    UNKNOWN_ACCOUNT, UNKNOWN_CODE,
};
use serde_json::json;

use super::stage::{BANK, Stage, plain, total};
use crate::on_both;
use crate::world::Database;

/// Paid, and reconciled by the statement, in every form in which the bank may write.
async fn paid_and_reconciled(kind: Database, form: StatementForm, version: StatusVersion, batch_booking: Option<bool>) {
    let setup = |bank: &mut paymaster_connectors::sandbox::bank::BankSettings| {
        bank.statement = form;
        bank.status_version = version;
    };
    let mut stage = Stage::with(kind, setup, json!({"bank": {"batch_booking": batch_booking}})).await;
    let payroll = stage.released(&plain(7)).await;
    stage.send().await;
    assert_eq!(stage.names("in").len(), 1);
    assert_eq!(stage.count(payroll.id, State::Accepted).await, 7, "the file is there; nobody is paid");
    stage.answered().await;
    assert_eq!(stage.count(payroll.id, State::Accepted).await, 7, "a status settles nobody");
    stage.day_ends().await;
    assert_eq!(stage.count(payroll.id, State::Settled).await, 7, "{form:?}: {:?}", stage.exceptions().await);
    assert_eq!(stage.state(payroll.id).await, PayrollState::Reconciled);
    assert!(stage.exceptions().await.is_empty());
    let found = stage.engine().reconciliation(&stage.world.maker.scope, payroll.id).await.unwrap();
    assert_eq!((found.total.debited.payments, found.total.debited.minor), (7, total(7).sum_minor));
    assert!(found.is_even());
    stage.books_agree(payroll.id).await;
}

on_both! {
    async fn by_camt_of_either_version_and_by_mt940(database) {
        paid_and_reconciled(database, StatementForm::Camt053V08, StatusVersion::V10, Some(false)).await;
        paid_and_reconciled(database, StatementForm::Camt053V02, StatusVersion::V03, None).await;
        paid_and_reconciled(database, StatementForm::Mt940, StatusVersion::V10, Some(false)).await;
    }
}

on_both! {
    async fn by_one_debit_for_the_whole_batch(database) {
        paid_and_reconciled(database, StatementForm::Camt053V08, StatusVersion::V10, Some(true)).await;
        paid_and_reconciled(database, StatementForm::Mt940, StatusVersion::V10, Some(true)).await;
    }
}

on_both! {
    async fn every_row_comes_to_its_own_end(database) {
        let mut stage = Stage::new(database).await;
        let rows = [PLAIN, UNKNOWN_ACCOUNT, CLOSED_ACCOUNT, UNKNOWN_CODE, LATE_REJECTION, RETURNED_NEXT_DAY, SHOWN_SHORT];
        let payroll = stage.released(&rows).await;
        stage.send().await;
        stage.answered().await;
        let states = stage.states(payroll.id).await;
        let is = |entitlement: &str, state: State, code: Option<&str>| {
            assert_eq!(states[entitlement], (state, code.map(str::to_owned)), "{entitlement}");
        };
        is("E0001", State::Accepted, None);
        is("E0002", State::Rejected, Some("ac01"));
        is("E0003", State::Rejected, Some("ac04"));
        is("E0004", State::Accepted, None);
        is("E0005", State::Accepted, None);
        assert_eq!(stage.exceptions().await, ["unknown_reason"], "a code that nobody mapped rejects nobody");
        stage.day_ends().await;
        stage.answered().await;
        let states = stage.states(payroll.id).await;
        let is = |entitlement: &str, state: State, code: Option<&str>| {
            assert_eq!(states[entitlement], (state, code.map(str::to_owned)), "{entitlement}");
        };
        is("E0001", State::Settled, None);
        is("E0005", State::Rejected, Some("ac06"));
        is("E0006", State::Settled, None);
        assert_eq!(states["E0007"].0, State::InDoubt, "one minor unit less is no settlement");
        stage.day_ends().await;
        let states = stage.states(payroll.id).await;
        assert_eq!(states["E0006"], (State::Returned, Some("ac04".to_owned())));
        assert_eq!(stage.exceptions().await, ["other_amount", "unknown_reason"]);
        assert_eq!(stage.state(payroll.id).await, PayrollState::Released, "two rows have no end yet");
        stage.world.verified().await;
        assert_eq!(stage.bank.summary().repeated_references, 0);
    }
}

on_both! {
    async fn what_is_not_named_is_neither_paid_nor_rejected_by_silence(database) {
        for statuses in [Reporting::NegativeOnly, Reporting::GroupOnly, Reporting::Silent] {
            let mut stage = Stage::with(database, |bank| bank.statuses = statuses, json!({})).await;
            let payroll = stage.released(&[PLAIN, UNKNOWN_ACCOUNT, PLAIN]).await;
            stage.send().await;
            stage.answered().await;
            let mut count = BTreeMap::new();
            for (state, _) in stage.states(payroll.id).await.into_values() {
                *count.entry(state.name()).or_insert(0) += 1;
            }
            let rejected = usize::from(statuses == Reporting::NegativeOnly);
            assert_eq!(count.get("rejected").copied().unwrap_or(0), rejected, "{statuses:?}: {count:?}");
            assert_eq!(count.get("settled"), None, "{statuses:?}");
            stage.day_ends().await;
            assert_eq!(stage.count(payroll.id, State::Settled).await, 2, "{statuses:?}");
            let open = stage.count(payroll.id, State::Accepted).await;
            assert_eq!(open, 1 - rejected, "{statuses:?}: who was rejected without a word waits for one");
            stage.world.verified().await;
        }
    }
}

on_both! {
    async fn a_file_that_is_refused_whole_pays_nobody_and_is_told(database) {
        let refuse = |bank: &mut paymaster_connectors::sandbox::bank::BankSettings| {
            bank.faults = BankFaults { refuse_first_files: 1, ..BankFaults::none() };
        };
        let mut stage = Stage::with(database, refuse, json!({})).await;
        let payroll = stage.released(&plain(4)).await;
        stage.send().await;
        stage.answered().await;
        assert_eq!(stage.count(payroll.id, State::Rejected).await, 4);
        assert_eq!(stage.exceptions().await, ["file_refused"]);
        assert_eq!(stage.bank.summary().credits, 0);
        stage.books_agree(payroll.id).await;
    }
}

on_both! {
    async fn a_file_that_the_bank_loses_stays_on_its_way_until_the_bank_finds_it(database) {
        let lose = |bank: &mut paymaster_connectors::sandbox::bank::BankSettings| {
            bank.faults = BankFaults { lose_first_files: 1, ..BankFaults::none() };
        };
        let mut stage = Stage::with(database, lose, json!({})).await;
        let payroll = stage.released(&plain(3)).await;
        stage.send().await;
        for _ in 0..4 {
            stage.day_ends().await;
        }
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 3, "nothing proves anything");
        assert_eq!(stage.bank.summary().credits, 0);
        stage.bank.heal();
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 3);
        assert_eq!(stage.state(payroll.id).await, PayrollState::Reconciled);
        stage.books_agree(payroll.id).await;
    }
}

on_both! {
    async fn statuses_that_come_twice_or_name_no_file_have_no_effect_of_their_own(database) {
        let twice = |bank: &mut paymaster_connectors::sandbox::bank::BankSettings| {
            bank.faults = BankFaults { status_twice: true, ..BankFaults::default() };
        };
        let mut stage = Stage::with(database, twice, json!({})).await;
        let payroll = stage.released(&[PLAIN, UNKNOWN_ACCOUNT]).await;
        stage.send().await;
        stage.answered().await;
        assert_eq!(stage.count(payroll.id, State::Rejected).await, 1);
        assert!(stage.exceptions().await.is_empty());
        let nameless = |bank: &mut paymaster_connectors::sandbox::bank::BankSettings| {
            bank.faults = BankFaults { status_not_provided: true, ..BankFaults::default() };
        };
        let mut stage = Stage::with(database, nameless, json!({})).await;
        let payroll = stage.released(&[PLAIN, UNKNOWN_ACCOUNT]).await;
        stage.send().await;
        stage.answered().await;
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 2);
        assert_eq!(stage.exceptions().await, ["status_without_original"]);
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 1, "the statement knows");
        stage.world.verified().await;
    }
}

on_both! {
    async fn a_delivery_that_was_cut_is_looked_for_and_not_repeated(database) {
        let mut stage = Stage::new(database).await;
        let payroll = stage.released(&plain(2)).await;
        // A bank whose folder is away: nothing goes, and nothing is in doubt.
        std::fs::rename(stage.root.join("in"), stage.root.join("away")).unwrap();
        stage.send().await;
        assert_eq!(stage.count(payroll.id, State::Queued).await, 2);
        assert_eq!(stage.exceptions().await, ["provider_blocked"]);
        std::fs::rename(stage.root.join("away"), stage.root.join("in")).unwrap();
        stage.engine().pause_provider(BANK, None).await.unwrap();
        stage.world.pass_seconds(400);
        stage.send().await;
        stage.day_ends().await;
        assert_eq!(stage.count(payroll.id, State::Settled).await, 2);
        stage.books_agree(payroll.id).await;
    }
}

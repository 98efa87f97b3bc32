//! What every connector must do, asserted on money: the counterpart's own ledger is the oracle. A connector
//! joins with one line in the table below; `README.md` beside this file says how. Deliberately not here: how a
//! protocol writes and reads its messages, which each connector tests for itself.

mod connector;
mod doubt;
mod listen;
mod mobile_money;
mod run;
mod settle;
mod store;
mod word;

/// Makes one test of every case for one subject.
macro_rules! cases {
    ($subject:expr; $($file:ident: $($case:ident),+;)+) => {
        $($(
            #[tokio::test]
            async fn $case() {
                crate::conformance::$file::$case(&$subject).await;
            }
        )+)+
    };
}

/// The table: a module's name and the subject.
macro_rules! conformance {
    ($($name:ident => $subject:expr;)+) => {
        $(
            mod $name {
                cases! {
                    $subject;
                    settle: a_batch_settles_once_each_and_exactly, the_same_bytes_twice_pay_once,
                        a_full_batch_loses_nobody, a_batch_beyond_the_profile_is_not_encoded,
                        amounts_arrive_exactly_in_any_currency;
                    doubt: a_lost_reply_is_a_doubt_that_asking_ends, many_lost_replies_are_as_many_doubts,
                        a_lost_request_is_absent_and_the_same_bytes_pay_once, a_word_nobody_knows_stays_pending,
                        a_shut_gate_writes_nothing, a_gate_that_shuts_midway_divides_the_sent_from_the_waiting,
                        nobody_there_is_unavailable;
                    word: refused_stays_refused, a_wrong_credential_blocks_and_fails_no_payment,
                        garbage_at_the_door_is_harmless, a_forged_callback_settles_only_as_far_as_it_is_trusted,
                        evidence_and_bytes_carry_no_credential;
                }
            }
        )+
    };
}

conformance! {
    mobile_money_batch => crate::conformance::mobile_money::BATCH;
    mobile_money_single => crate::conformance::mobile_money::SINGLE;
}

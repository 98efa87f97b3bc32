//! What may happen on our side: the verbs of `engine` in the same order, cut where a crash or a pause may come
//! between, with the guards that stand there. Deliberately not here: the rules, which are the domain's own.

use paymaster_connectors::contract::{CallbackTrust, Inquiry, Profile, Source};

use super::hear::NOW;
use super::next::{CALL, Next};
use super::place::{Calm, GENERATIONS, Generation, Place, Sleeper, Worker};
use super::word::{Word, Words};
use crate::domain::batch::{Action, BatchState, Standing, may_resend, next};
use crate::domain::disbursement::State;
use crate::domain::guard::Guard;
use crate::domain::judge::Verdict;

/// Everything we may do from a place.
pub fn moves(profile: &Profile, place: &Place, out: &mut Next) {
    for at in 0..=usize::from(place.newest) {
        drive(profile, place, at, out);
        work(profile, place, at, out);
        trouble(profile, place, at, out);
        called(profile, place, at, out);
    }
    let newest = usize::from(place.newest);
    if newest + 1 < GENERATIONS && place.generations[newest].state().may_be_followed() {
        out.to("a new generation", newest + 1, Place { newest: place.newest + 1, ..*place });
    }
}

/// What a job does that comes to the batch: [`next`] says it.
fn drive(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    let one = place.generations[at];
    let lease_until = if one.worker == Worker::Idle { NOW } else { NOW + 1 };
    let due_at = (one.batch != BatchState::Completed).then_some(NOW);
    let standing = Standing { state: one.batch, lease_until, due_at, stopped: false, ask_first: false };
    match next(&standing, NOW) {
        Action::Submit => out.one("claim", place, at, |one| claim(one, true)),
        Action::Lose => out.one("the lease ran out: in doubt", place, at, |one| {
            one.batch = BatchState::InDoubt;
            one.calm = Calm::Restless;
        }),
        Action::Inquire => {
            for word in one.answers(profile) {
                let asks = if profile.inquiry == Inquiry::None { "statement says" } else { "inquiry says" };
                out.said(asks, word, place, at, |one| one.worker = Worker::Asking(word, one.calm));
            }
        }
        // No backup is put back here; the simulation does that.
        Action::AskFirst | Action::Nothing => {}
    }
    if one.own == State::Settled && one.books.settled == 0 && one.books.returned > 0 {
        out.tried("statement shows the return", place, at, |one| {
            one.hear(profile, Word::Returned, Source::Statement, one.calm).map(|_| ())
        });
    }
}

/// The durable intent. Without the guard it is not durable: nothing is stored, and the worker goes on.
fn claim(one: &mut Generation, first: bool) {
    one.worker = Worker::Intent;
    if !Guard::IntentFirst.stands() && first {
        return;
    }
    one.intended = true;
    one.batch = BatchState::Transmitting;
    one.copies += 1;
    one.calm = Calm::Restless;
    one.forgotten &= !first;
}

/// What the worker that holds the lease does next.
fn work(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    let one = place.generations[at];
    match one.worker {
        Worker::Idle => {}
        Worker::Intent => out.one("gate opens", place, at, |one| one.worker = Worker::Passed),
        Worker::Passed => out.one("write", place, at, |one| {
            write(one);
            one.worker = Worker::Waiting;
        }),
        Worker::Waiting => {
            out.tried("time-out", place, at, |one| {
                if !Guard::TimeoutIsDoubt.stands() {
                    one.hear_of_batch(profile, Word::Rejected, one.calm)?;
                }
                sent(one);
                Ok(())
            });
            for word in one.replies.all() {
                reply(profile, place, at, word, out);
            }
        }
        Worker::Asking(word, asked) => answer(profile, place, at, (word, asked), out),
    }
}

fn write(one: &mut Generation) {
    if one.renaming { one.renamed += 1 } else { one.flying += 1 }
}

/// The end of a send.
fn sent(one: &mut Generation) {
    one.worker = Worker::Idle;
    one.replies = Words::default();
    one.calm = Calm::Restless;
    if one.batch == BatchState::Transmitting {
        one.batch = BatchState::InDoubt;
    }
}

/// The reply speaks of the row or of the batch; a crash may come between what it said and the end of the send.
fn reply(profile: &Profile, place: &Place, at: usize, word: Word, out: &mut Next) {
    out.said_and_tried("reply on the row", word, place, at, |one| {
        one.hear(profile, word, Source::Reply, one.calm)?;
        sent(one);
        Ok(())
    });
    out.said_and_tried("reply on the batch", word, place, at, |one| {
        one.hear_of_batch(profile, word, one.calm)?;
        sent(one);
        Ok(())
    });
    if place.troubles > 0 {
        let place = Place { troubles: place.troubles - 1, ..*place };
        out.said_and_tried("reply on the row, then a crash", word, &place, at, |one| {
            one.hear(profile, word, Source::Reply, one.calm)?;
            (one.worker, one.replies, one.calm) = (Worker::Idle, Words::default(), Calm::Restless);
            Ok(())
        });
    }
}

/// An answer is judged as of the instant it was asked for. "I don't have it" may lead to the same bytes again.
fn answer(profile: &Profile, place: &Place, at: usize, (word, asked): (Word, Calm), out: &mut Next) {
    let source = if profile.inquiry == Inquiry::None { Source::Statement } else { Source::Inquiry };
    let mut heard = place.generations[at];
    heard.worker = Worker::Idle;
    match heard.hear(profile, word, source, asked) {
        Err(broken) => out.broken("answer applied", at, broken),
        Ok(verdict) => {
            out.said("answer applied", word, place, at, |one| *one = heard);
            let absent = word == Word::Absent && verdict == Verdict::Inconclusive;
            let follows = heard.batch == BatchState::InDoubt && heard.own == State::Queued;
            let again = may_resend(profile, heard.first_copy_at(profile), NOW);
            if absent && follows && again && place.copies_more > 0 {
                let place = Place { copies_more: place.copies_more - 1, ..*place };
                out.one("claim again", &place, at, |one| {
                    *one = heard;
                    claim(one, false);
                    one.renaming = !Guard::ResendKeepsReference.stands();
                });
            }
        }
    }
}

/// Crashes, pauses and shut gates.
fn trouble(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    let one = place.generations[at];
    match one.sleeper {
        Sleeper::None => {}
        Sleeper::BeforeGate | Sleeper::PastGate => {
            out.one("sleeper wakes and writes", place, at, |one| {
                one.sleeper = Sleeper::None;
                write(one);
            });
            out.one("sleeper dies", place, at, |one| one.sleeper = Sleeper::None);
        }
    }
    // A worker that only asks can be lost without a trace.
    if place.troubles == 0 || matches!(one.worker, Worker::Idle | Worker::Asking(..)) {
        return;
    }
    let place = Place { troubles: place.troubles - 1, ..*place };
    out.one("crash", &place, at, |one| (one.worker, one.replies) = (Worker::Idle, Words::default()));
    let sleeps = match one.worker {
        // The gate will be shut when it wakes: it might as well have died.
        Worker::Intent if Guard::LeaseBeforeWrite.stands() => Sleeper::None,
        Worker::Intent => Sleeper::BeforeGate,
        Worker::Passed => Sleeper::PastGate,
        _ => Sleeper::None,
    };
    if one.sleeper == Sleeper::None && sleeps != Sleeper::None {
        out.one("pause", &place, at, |one| (one.worker, one.sleeper) = (Worker::Idle, sleeps));
    }
    if one.worker == Worker::Intent {
        out.tried("gate is shut", &place, at, |one| {
            let alone = one.copies == 1 && one.batch == BatchState::Transmitting && one.own == State::Queued;
            one.hear(profile, Word::NotSent, Source::Reply, one.calm)?;
            if alone {
                (one.batch, one.copies, one.intended) = (BatchState::Sealed, 0, false);
            }
            sent(one);
            Ok(())
        });
    }
}

/// A provider calls. Its report is on the attempt it names; without the guards it is on whichever is newest.
fn called(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    for word in place.generations[at].calls() {
        if profile.callback_trust == CallbackTrust::Hint {
            continue;
        }
        let named = if word == Word::Rejected { Guard::OldRejectionIsOld } else { Guard::ReportNamesAttempt };
        let on = if named.stands() { at } else { usize::from(place.newest) };
        out.said_and_tried(CALL, word, place, on, |one| {
            one.hear(profile, word, Source::Callback, one.calm).map(|_| ())
        });
    }
}

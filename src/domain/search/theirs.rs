//! What may happen outside: the network, the provider, the passing of time.
//! Deliberately not here: what we make of it.

use paymaster_connectors::contract::{Dedupe, Inquiry, Profile};

use super::next::Next;
use super::place::{Calm, Generation, Place, Worker};
use super::word::Word;
use crate::domain::batch::BatchState;
use crate::domain::guard::Guard;

/// Everything that may happen outside.
pub fn moves(profile: &Profile, place: &Place, out: &mut Next) {
    for at in 0..=usize::from(place.newest) {
        let one = &place.generations[at];
        copies(profile, place, at, out);
        entries(place, at, out);
        time(profile, place, at, out);
        if one.renamed > 0 {
            out.one("renamed copy is lost", place, at, |one| one.renamed -= 1);
            out.one("provider takes renamed copy", place, at, |one| {
                one.renamed -= 1;
                one.books.pending += 1;
            });
        }
    }
}

/// A copy under way is lost, repeated by something below us, answered from memory, or executed.
fn copies(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    let one = &place.generations[at];
    if one.flying == 0 {
        return;
    }
    out.one("copy is lost", place, at, |one| one.flying -= 1);
    if !Guard::OneAttemptForIntent.stands() && place.copies_more > 0 {
        let place = Place { copies_more: place.copies_more - 1, ..*place };
        out.one("the transport repeats the copy", &place, at, |one| one.flying += 1);
    }
    if one.replays(profile) {
        let books = one.books;
        let known = if books.pending + books.settled + books.returned > 0 { Word::Accepted } else { Word::Rejected };
        for word in [known, Word::Duplicate] {
            out.said("provider answers from memory", word, place, at, |one| arrive(one, word));
        }
    } else {
        out.one("provider takes the copy", place, at, |one| {
            arrive(one, Word::Accepted);
            one.books.pending += 1;
        });
        out.one("provider rejects the copy", place, at, |one| {
            arrive(one, Word::Rejected);
            one.books.rejected += 1;
        });
    }
}

/// Only a worker that waits can get the reply; for others it is lost.
fn arrive(one: &mut Generation, word: Word) {
    one.flying -= 1;
    if one.worker == Worker::Waiting {
        one.replies.add(word);
    }
}

/// What the provider has taken comes to an end, and what it paid may come back.
fn entries(place: &Place, at: usize, out: &mut Next) {
    let books = place.generations[at].books;
    if books.pending > 0 {
        out.one("provider pays", place, at, |one| {
            (one.books.pending, one.books.settled) = (books.pending - 1, books.settled + 1);
        });
        out.one("provider fails", place, at, |one| {
            (one.books.pending, one.books.rejected) = (books.pending - 1, books.rejected + 1);
        });
    }
    if books.settled > 0 {
        out.one("the money comes back", place, at, |one| {
            (one.books.settled, one.books.returned) = (books.settled - 1, books.returned + 1);
        });
    }
}

/// The fence passes when no copy can arrive: that is what a fence is, and it does not begin before the worker is done.
/// Then the books become quiet; those of a provider that shows debits alone do so when nothing is pending any more.
/// A memory ends after its window, and not while a copy travels that was sent inside the trusted part of it.
fn time(profile: &Profile, place: &Place, at: usize, out: &mut Next) {
    let one = &place.generations[at];
    let waits = profile.inquiry == Inquiry::None && one.books.pending > 0;
    let sends = one.batch == BatchState::Transmitting || matches!(one.worker, Worker::Waiting);
    if one.copies == 0 || sends {
        return;
    }
    let still = !one.may_arrive_in_time();
    match one.calm {
        Calm::Restless if still => out.one("the fence passes", place, at, |one| one.calm = Calm::Fenced),
        Calm::Fenced if !waits => out.one("the books are quiet", place, at, |one| one.calm = Calm::Quiet),
        _ => {}
    }
    if profile.dedupe == Dedupe::ByKey && !one.forgotten && still {
        out.one("the window passes, the provider forgets", place, at, |one| one.forgotten = true);
    }
}

//! Every way in which one payment can go, searched to the end: our workers, the network and the provider in every
//! order, with crashes, pauses, second copies, late and repeated callbacks, a second generation. The decisions are
//! the real ones (`step`, `judge`, `next`, `may_resend`, `may_be_followed`, `effective`); around them stands the
//! little of the engine that calls them. Then each guard is taken away in turn, and the search must notice.
//!
//! Deliberately not here: files, batches of more than one row, and other payments. Two things are taken as given. The
//! fence is what it claims to be: it passes when no copy can arrive; whether a profile's fence is long enough is a
//! question to its provider. And `judge` gets the instant it asks for: an answer is judged as of its question.

mod hear;
mod next;
mod ours;
mod place;
mod theirs;
mod word;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use paymaster_connectors::contract::{CallbackTrust, Dedupe, Finality, Inquiry, Profile};

use super::guard::{Guard, away};
use next::{Happened, Next};
use place::{Broken, Place};

/// A search that has not ended by then has lost its bounds.
const PLACES_MAX: usize = 3_000_000;

/// What a kind of provider guarantees.
type Guarantees = fn() -> Profile;

/// Providers that differ in what they guarantee.
const KINDS: [(&str, Guarantees); 4] =
    [("remembers", remembers), ("forgets rejections", forgets), ("no dedupe", asked), ("statement only", statement)];

/// A reference is executed once; its rejection holds.
fn remembers() -> Profile {
    Profile { remembers_rejections: true, ..forgets() }
}

/// A reference is executed once; after a rejection, a second copy may be paid.
fn forgets() -> Profile {
    Profile { dedupe: Dedupe::ByKey, ..asked() }
}

/// Every copy is executed; it can be asked. The window is there so that one guard alone forbids a second copy.
fn asked() -> Profile {
    Profile { inquiry: Inquiry::Direct, finality: Finality::Status, ..statement() }
}

/// Nothing but the statement ends a doubt.
fn statement() -> Profile {
    Profile {
        dedupe_window: Duration::from_micros(1_000_000),
        absent_after: Duration::from_micros(1_000),
        fence: Duration::from_micros(500),
        callback_trust: CallbackTrust::SecretUrl,
        ..Profile::worst()
    }
}

/// Breadth first, so that the first way to anything is a shortest one.
#[derive(Default)]
struct Search {
    places: Vec<Place>,
    known: HashMap<Place, usize>,
    came_by: Vec<Option<(usize, Happened)>>,
    /// Ways that may be relied on to reach an end: all but calls to our door.
    ways: Vec<(usize, usize)>,
    /// The rule that was broken first, and the way there.
    broken: Option<(Broken, Vec<Happened>)>,
}

impl Search {
    fn way_to(&self, mut at: usize) -> Vec<Happened> {
        let mut way = Vec::new();
        while let Some((before, happened)) = self.came_by[at] {
            way.push(happened);
            at = before;
        }
        way.reverse();
        way
    }

    fn add(&mut self, place: Place, came_by: Option<(usize, Happened)>) -> usize {
        *self.known.entry(place).or_insert_with(|| {
            self.places.push(place);
            self.came_by.push(came_by);
            self.places.len() - 1
        })
    }

    /// Goes on until a rule is broken, or nothing is left.
    fn run(profile: &Profile) -> Self {
        let mut search = Self::default();
        search.add(Place::first(), None);
        let (mut at, mut next) = (0, Next::default());
        while at < search.places.len() && search.broken.is_none() {
            assert!(at < PLACES_MAX, "the search has no bounds");
            let place = search.places[at];
            search.broken = place.broken(profile).map(|broken| (broken, search.way_to(at)));
            ours::moves(profile, &place, &mut next);
            theirs::moves(profile, &place, &mut next);
            for (happened, to) in next.found.drain(..) {
                search.go(profile, at, happened, to);
            }
            at += 1;
        }
        search
    }

    fn go(&mut self, profile: &Profile, at: usize, happened: Happened, to: Result<Place, Broken>) {
        match to {
            Ok(mut to) => {
                to.settle_down(profile);
                let to = self.add(to, Some((at, happened)));
                if !happened.is_call() {
                    self.ways.push((at, to));
                }
            }
            Err(broken) if self.broken.is_none() => {
                let mut way = self.way_to(at);
                way.push(happened);
                self.broken = Some((broken, way));
            }
            Err(_) => {}
        }
    }

    /// Walks back from every end; what it does not come to is stuck.
    fn stuck(&self) -> Vec<usize> {
        let mut before = vec![Vec::new(); self.places.len()];
        for (from, to) in &self.ways {
            before[*to].push(*from);
        }
        let mut ends: Vec<bool> = self.places.iter().map(Place::is_over).collect();
        let mut open: VecDeque<usize> = (0..ends.len()).filter(|at| ends[*at]).collect();
        while let Some(at) = open.pop_front() {
            for from in &before[at] {
                if !ends[*from] {
                    ends[*from] = true;
                    open.push_back(*from);
                }
            }
        }
        (0..ends.len()).filter(|at| !ends[*at]).collect()
    }
}

fn told(way: &[Happened]) -> String {
    way.iter().map(Happened::to_string).collect::<Vec<_>>().join(" -> ")
}

#[test]
fn no_way_breaks_a_rule_and_every_way_can_end() {
    for (kind, profile) in KINDS {
        let search = Search::run(&profile());
        if let Some((broken, way)) = &search.broken {
            panic!("{kind}: {broken}: {}", told(way));
        }
        let stuck = search.stuck();
        println!("{kind:20}{:8} places, nothing broken, {} stuck", search.places.len(), stuck.len());
        let first = stuck.first().map(|at| told(&search.way_to(*at)));
        assert!(first.is_none(), "{kind}: stuck after {first:?}");
    }
}

/// For each kind of provider, how each guard's absence was noticed.
fn without_each_guard(profile: &Profile) -> Vec<(Guard, bool, String)> {
    let each = Guard::ALL.into_iter().map(|guard| {
        let search = away::without(Some(guard), || Search::run(profile));
        let places = search.places.len();
        let told = match &search.broken {
            Some((broken, way)) => format!("{places:8} places: {broken}, in {} steps: {}", way.len(), told(way)),
            None => format!("{places:8} places: not needed here"),
        };
        (guard, search.broken.is_some(), told)
    });
    each.collect()
}

#[test]
fn every_guard_is_needed() {
    let searched: Vec<_> = std::thread::scope(|scope| {
        let all = KINDS.map(|(kind, profile)| (kind, scope.spawn(move || without_each_guard(&profile()))));
        all.map(|(kind, thread)| (kind, thread.join().unwrap())).into()
    });
    for (at, guard) in Guard::ALL.into_iter().enumerate() {
        for (kind, each) in &searched {
            println!("{:22}{kind:20}{}", format!("{guard:?}"), each[at].2);
        }
        let noticed = searched.iter().any(|(_, each)| each[at].0 == guard && each[at].1);
        assert!(noticed, "nobody would notice the absence of {guard:?}");
    }
}

//! The places that follow one place, each with what happened on the way.
//! Deliberately not here: what may happen.

use super::place::{Broken, Generation, Place};
use super::word::Word;

/// The event of a provider that calls us.
pub const CALL: &str = "callback";

/// What happened: the event, the word that was said, and to which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    event: &'static str,
    word: Option<Word>,
    at: usize,
}

impl Happened {
    /// Whether it is a call to our door, which may as well never come.
    pub fn is_call(self) -> bool {
        self.event == CALL
    }
}

impl std::fmt::Display for Happened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let generation = self.at + 1;
        match self.word {
            Some(word) => write!(f, "{generation}: {} {word:?}", self.event),
            None => write!(f, "{generation}: {}", self.event),
        }
    }
}

/// Collects what follows.
#[derive(Debug, Default)]
pub struct Next {
    /// Places, or the rule that was broken on the way.
    pub found: Vec<(Happened, Result<Place, Broken>)>,
}

impl Next {
    /// A place as it is.
    pub fn to(&mut self, event: &'static str, at: usize, place: Place) {
        self.found.push((Happened { event, word: None, at }, Ok(place)));
    }

    /// A rule was broken.
    pub fn broken(&mut self, event: &'static str, at: usize, broken: Broken) {
        self.found.push((Happened { event, word: None, at }, Err(broken)));
    }

    /// A change of one generation.
    pub fn one(&mut self, event: &'static str, place: &Place, at: usize, change: impl FnOnce(&mut Generation)) {
        self.change((event, None), place, at, |one| {
            change(one);
            Ok(())
        });
    }

    /// The same, by a word.
    pub fn said(
        &mut self,
        event: &'static str,
        word: Word,
        place: &Place,
        at: usize,
        change: impl FnOnce(&mut Generation),
    ) {
        self.change((event, Some(word)), place, at, |one| {
            change(one);
            Ok(())
        });
    }

    /// A change that may break a rule.
    pub fn tried<F>(&mut self, event: &'static str, place: &Place, at: usize, change: F)
    where
        F: FnOnce(&mut Generation) -> Result<(), Broken>,
    {
        self.change((event, None), place, at, change);
    }

    /// The same, by a word.
    pub fn said_and_tried<F>(&mut self, event: &'static str, word: Word, place: &Place, at: usize, change: F)
    where
        F: FnOnce(&mut Generation) -> Result<(), Broken>,
    {
        self.change((event, Some(word)), place, at, change);
    }

    fn change<F>(&mut self, (event, word): (&'static str, Option<Word>), place: &Place, at: usize, change: F)
    where
        F: FnOnce(&mut Generation) -> Result<(), Broken>,
    {
        let mut place = *place;
        let done = change(&mut place.generations[at]).map(|()| place);
        self.found.push((Happened { event, word, at }, done));
    }
}

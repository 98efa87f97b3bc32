//! The words a provider may say, and sets of them.
//! Deliberately not here: when it says which (`theirs`, `hear`), and what we make of it.

use paymaster_connectors::contract::{Outcome, Reason, ReasonClass};

/// What a provider may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    Absent,
    Accepted,
    Settled,
    Rejected,
    Returned,
    /// Refused because it is there already.
    Duplicate,
    /// Our own: not begun to write.
    NotSent,
}

/// A set of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Words(u8);

impl Words {
    const ALL: [Word; 5] = [Word::Accepted, Word::Settled, Word::Rejected, Word::Returned, Word::Duplicate];

    fn bit(word: Word) -> u8 {
        Self::ALL.iter().position(|known| *known == word).map_or(0, |at| 1 << at)
    }

    pub fn add(&mut self, word: Word) {
        self.0 |= Self::bit(word);
    }

    pub fn all(self) -> impl Iterator<Item = Word> {
        Self::ALL.into_iter().filter(move |word| self.0 & Self::bit(*word) != 0)
    }
}

impl Word {
    /// As a connector reports it.
    pub fn outcome(self) -> Outcome {
        let reason = |class| Reason::new(class, "", "");
        match self {
            Self::Absent => Outcome::Absent,
            Self::Accepted => Outcome::Accepted,
            Self::Settled => Outcome::Settled,
            Self::Rejected => Outcome::Rejected(reason(ReasonClass::NotExecuted)),
            Self::Returned => Outcome::Returned(reason(ReasonClass::FixAtBank)),
            Self::Duplicate => Outcome::Rejected(reason(ReasonClass::Duplicate)),
            Self::NotSent => Outcome::NotSent(reason(ReasonClass::NotExecuted)),
        }
    }
}

//! What the provider can say of an attempt, and how it is judged and applied: by `judge` and `step`, at instants that
//! lie as the place has it. Deliberately not here: by which door a word comes, and when.

use paymaster_connectors::contract::{Currency, Inquiry, Money, Profile, Reference, Report, Source};

use super::place::{Books, Broken, Calm, Generation};
use super::word::Word;
use crate::domain::batch::BatchState;
use crate::domain::disbursement::{Move, State, step};
use crate::domain::judge::{Attempt, Verdict, judge};

/// Every judgement is made at this instant; the instants of an attempt are placed around it.
pub const NOW: i64 = 1_000_000_000;
const ACCOUNT: &str = "mobile:254700000001@op";

impl Generation {
    /// Calls to our door that may come, late, and again: one for each thing that ever became of it.
    pub fn calls(&self) -> impl Iterator<Item = Word> + use<> {
        let Books { settled, rejected, returned, .. } = self.books;
        let all = [(settled + returned, Word::Settled), (returned, Word::Returned), (rejected, Word::Rejected)];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(_, word)| word)
    }

    /// What is known of the attempt, with instants that lie as `calm` says.
    fn attempt(&self, profile: &Profile, state: State, calm: Calm) -> Attempt<'static> {
        let quiet = i64::try_from(profile.absent_after.as_micros()).unwrap();
        Attempt {
            state,
            copies: u32::from(self.copies),
            last_copy_at: if calm == Calm::Quiet { NOW - quiet } else { NOW - quiet + 1 },
            fence_at: if calm == Calm::Restless { NOW + 1 } else { NOW },
            amount: Money::new(500, Currency::parse("KES").unwrap()),
            payee_account: ACCOUNT,
        }
    }

    /// When the first copy left: as long ago as the calm says, or so long that it may be forgotten.
    pub fn first_copy_at(&self, profile: &Profile) -> i64 {
        let ago = if self.forgotten { profile.dedupe_window } else { profile.absent_after };
        NOW - i64::try_from(ago.as_micros()).unwrap()
    }

    /// Judges what was said of the row, and moves it: what `engine/apply.rs` does under the batch's lock.
    pub fn hear(&mut self, profile: &Profile, word: Word, source: Source, calm: Calm) -> Result<Verdict, Broken> {
        let attempt = self.attempt(profile, self.state(), calm);
        let verdict = self.judged(&attempt, profile, word, source)?;
        if let Verdict::Move(asked) = verdict
            && !matches!(asked, Move::Requeue | Move::Lose)
        {
            self.own = step(self.state(), asked).map_err(|_| "I7 a move the table does not have")?;
            if self.own.is_final() {
                self.batch = BatchState::Completed;
            }
        }
        if word == Word::Returned && self.own != State::Returned {
            return Err("I4 a return was not booked");
        }
        Ok(verdict)
    }

    /// The same for a word on the whole batch.
    pub fn hear_of_batch(&mut self, profile: &Profile, word: Word, calm: Calm) -> Result<(), Broken> {
        let followers = self.batch.of_followers();
        let attempt = self.attempt(profile, followers, calm);
        if let Verdict::Move(asked) = self.judged(&attempt, profile, word, Source::Reply)? {
            let to = step(followers, asked).map_err(|_| "I7 a move the table does not have")?;
            match BatchState::giving(to) {
                Some(_) if self.own.is_final() => {}
                Some(state) => self.batch = state,
                None if self.own == State::Queued => (self.own, self.batch) = (to, BatchState::Completed),
                None => {}
            }
        }
        Ok(())
    }

    fn judged(&self, attempt: &Attempt<'_>, profile: &Profile, word: Word, source: Source) -> Result<Verdict, Broken> {
        let report = Report::instruction(Reference::new(1, 1), word.outcome());
        match judge(attempt, &report, source, profile, NOW) {
            Verdict::Contradiction(found) => Err(found.code()),
            verdict => Ok(verdict),
        }
    }

    /// What an inquiry or a statement may show. Until the provider's books are quiet they may be behind.
    pub fn answers(&self, profile: &Profile) -> impl Iterator<Item = Word> + use<> {
        let Books { pending, settled, rejected, returned } = self.books;
        let truth = match () {
            () if settled > 0 => Word::Settled,
            () if returned > 0 => Word::Returned,
            () if pending > 0 && profile.inquiry != Inquiry::None => Word::Accepted,
            () if rejected > 0 => Word::Rejected,
            () => Word::Absent,
        };
        let behind = if self.calm == Calm::Quiet { None } else { Some(Word::Absent) };
        let older = behind.and((rejected > 0).then_some(Word::Rejected));
        let behind = behind.filter(|word| *word != truth);
        [Some(truth), behind, older.filter(|word| *word != truth)].into_iter().flatten()
    }
}

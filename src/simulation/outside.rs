//! What providers do with what reaches them, and what they send back.
//! Deliberately not here: our side.

use std::sync::Arc;

use bytes::Bytes;
use paymaster_connectors::contract::{Callback, Reference};

use super::operator::{Asked, Kind, Stage as Standing};
use super::rare::Rare;
use super::stage::{DOOR, Stage, provider_name};
use super::world::{Answer, Event, HOUR, Inner, Request, SECOND, Word, World};
use crate::domain::disbursement::State;
use crate::engine::Engine;
use crate::store::slate;

/// How often a provider tries to tell us of something but a return; a return it tells until it is heard.
const CALLBACK_TRIES_MAX: u8 = 3;
const RETURN_TRIES_MAX: u8 = 200;

impl Stage {
    /// A request has reached a provider.
    pub fn arrived(&mut self, provider: usize, call: u64, request: Request) {
        let mut inner = self.world.look();
        let answer = match request {
            Request::Pay(rows) => paid(&mut inner, provider, call, rows),
            Request::Ask(references) => Some(asked(&mut inner, provider, &references)),
        };
        let Some(mut answer) = answer else { return };
        if inner.storm && inner.chance.falls(60) {
            inner.note(Rare::Unreadable);
            answer = Answer::Broken;
        }
        if !(inner.storm && inner.chance.falls(80)) {
            let travel = inner.travel();
            inner.after(travel, Event::Reply { call, answer });
        }
    }

    /// A provider carries out what it took.
    pub fn execute(&mut self, provider: usize, place: usize) {
        let mut inner = self.world.look();
        let rejects = inner.chance.falls(90);
        let operator = &mut inner.operators[provider];
        if rejects {
            operator.reject(place)
        } else {
            operator.credit(place)
        }
        let (kind, one) = (operator.kind, operator.executions[place].clone());
        if one.stage == Standing::Settled {
            inner.credited(&one.asked);
        }
        if one.short_of_float {
            inner.note(Rare::FloatShort);
        }
        if one.stage == Standing::Settled && inner.given_up.contains(&one.call) {
            inner.note(Rare::LateSuccess);
        }
        if kind == Kind::StatementOnly {
            return;
        }
        let word = word_of(one.stage, one.short_of_float);
        if !inner.chance.falls(200) {
            let travel = inner.travel();
            inner.after(travel, Event::CallBack { provider, place, word, tries: 0 });
            if inner.chance.falls(100) {
                let travel = inner.travel();
                inner.note(Rare::CallbackAgain);
                inner.after(travel, Event::CallBack { provider, place, word, tries: 0 });
            }
        }
        if self.terms[provider].believed && one.stage == Standing::Settled && inner.chance.falls(80) {
            let soon = inner.chance.falls(300);
            let later =
                if soon { inner.chance.between(0, 2 * SECOND) } else { inner.chance.between(SECOND, 40 * HOUR) };
            inner.after(later, Event::GiveBack { provider, place });
        }
    }

    pub fn give_back(&mut self, provider: usize, place: usize) {
        let mut inner = self.world.look();
        if inner.operators[provider].give_back(place) {
            let asked = inner.operators[provider].executions[place].asked.clone();
            inner.taken_back(&asked);
            inner.note(Rare::Returned);
            let travel = inner.travel();
            inner.after(travel, Event::CallBack { provider, place, word: Word::Returned, tries: 0 });
        }
    }

    /// A provider calls our door. It calls again when nobody took the call.
    pub async fn called(&mut self, (provider, place): (usize, usize), word: Word, tries: u8) {
        let (one, waiting) = {
            let inner = self.world.look();
            let one = inner.operators[provider].executions[place].clone();
            let waiting = inner.is_waiting(one.call);
            (one, waiting)
        };
        let known = self.standing(one.asked.reference).await;
        let state = known.map(|(state, _)| state);
        let lies = word == Word::Settled && state == Some(State::Settled) && self.world.look().chance.falls(60);
        {
            let mut inner = self.world.look();
            if waiting {
                inner.note(Rare::CallbackBeforeReply);
            }
            if word == Word::Returned && state.is_some_and(State::is_in_flight) {
                inner.note(Rare::ReturnFirst);
            }
            if known.is_some_and(|(_, followed)| followed) {
                inner.note(Rare::OldHeard);
            }
            if lies {
                inner.note(Rare::Contradicted);
            }
        }
        let word = if lies { Word::Rejected } else { word };
        let again = Event::CallBack { provider, place, word, tries: tries.saturating_add(1) };
        let most = if word == Word::Returned { RETURN_TRIES_MAX } else { CALLBACK_TRIES_MAX };
        if !self.is_up(DOOR) {
            if tries < most {
                self.world.look().after(10 * SECOND, again);
            }
            return;
        }
        let again = (tries < most).then_some(again);
        let (engine, told) = (self.engine(DOOR), Told::new(&self.world, again));
        let call = callback(&one.asked, word);
        self.spawn(DOOR, async move {
            if hear(&engine, provider, &call).await {
                told.heard();
            }
        })
        .await;
    }

    /// Where we stand with a payment, as the database has it, and whether another followed it.
    async fn standing(&self, reference: Reference) -> Option<(State, bool)> {
        let mut tx = self.store.read().await.ok()?;
        slate::standing(&mut tx, reference.number()).await.ok()?
    }
}

/// A call that is tried again unless it was heard, also when whoever took it died of it.
struct Told {
    world: Arc<World>,
    again: Option<Event>,
}

impl Told {
    fn new(world: &Arc<World>, again: Option<Event>) -> Self {
        world.look().calls += 1;
        Self { world: world.clone(), again }
    }

    fn heard(mut self) {
        self.again = None;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut inner = self.world.look();
        inner.calls -= 1;
        if let Some(again) = self.again.take() {
            let later = inner.chance.between(10 * SECOND, 300 * SECOND);
            inner.after(later, again);
        }
    }
}

impl Inner {
    /// After a restore providers are asked to tell their returns again: what they told before is lost.
    pub fn tell_returns_again(&mut self) {
        let mut returned = Vec::new();
        for (provider, operator) in self.operators.iter().enumerate() {
            let places =
                (0..operator.executions.len()).filter(|place| operator.executions[*place].stage == Standing::Returned);
            returned.extend(places.map(|place| (provider, place)));
        }
        for (provider, place) in returned {
            let travel = self.travel();
            self.after(travel, Event::CallBack { provider, place, word: Word::Returned, tries: 0 });
        }
    }
}

async fn hear(engine: &Arc<Engine>, provider: usize, call: &Callback) -> bool {
    engine.hear(&provider_name(provider), "secret", call).await.is_ok()
}

fn callback(asked: &Asked, word: Word) -> Callback {
    let word = match word {
        Word::Settled | Word::OtherAmount => "settled",
        Word::Returned => "returned",
        Word::FloatShort => "short",
        _ => "rejected",
    };
    let body = format!("{} {word} {}", asked.reference, asked.amount_minor);
    Callback { headers: Vec::new(), body: Bytes::from(body) }
}

fn word_of(stage: Standing, short: bool) -> Word {
    match stage {
        Standing::Pending => Word::Accepted,
        Standing::Settled => Word::Settled,
        Standing::Rejected if short => Word::FloatShort,
        Standing::Rejected => Word::Rejected,
        Standing::Returned => Word::Returned,
    }
}

/// A provider takes a request to pay; what it answers, if it gets so far.
fn paid(inner: &mut Inner, provider: usize, call: u64, mut rows: Vec<Asked>) -> Option<Answer> {
    if inner.storm && inner.chance.falls(40) {
        let seconds = inner.chance.falls(500).then_some(7);
        return Some(Answer::Busy(seconds));
    }
    let partly = rows.len() > 1 && inner.storm && inner.chance.falls(60);
    if partly {
        inner.note(Rare::PartlySilent);
        let kept = 1 + inner.chance.place(rows.len() - 1);
        rows.truncate(kept);
    }
    let mut words = Vec::new();
    for asked in rows {
        words.push(take(inner, provider, call, asked));
    }
    if inner.storm && inner.chance.falls(30) {
        inner.note(Rare::ErrorAfterExecution);
        return Some(Answer::Broken);
    }
    Some(if !partly && inner.chance.falls(500) { Answer::Taken } else { Answer::Words(words) })
}

fn take(inner: &mut Inner, provider: usize, call: u64, asked: Asked) -> (Reference, Word, i64) {
    let (now, reference, amount) = (inner.now, asked.reference, asked.amount_minor);
    if inner.operators[provider].replays(reference, now) {
        inner.note(Rare::Replayed);
        let shown = inner.operators[provider].of(reference).max_by_key(|(_, one)| one.stage);
        let word = shown.map_or(Word::Accepted, |(_, one)| word_of(one.stage, one.short_of_float));
        return (reference, word, amount);
    }
    if inner.operators[provider].of(reference).any(|(_, one)| one.stage == Standing::Rejected) {
        inner.note(Rare::CopyAfterRejection);
    }
    let lag = if inner.storm && inner.chance.falls(150) { inner.chance.between(SECOND, 200 * SECOND) } else { 0 };
    let place = inner.operators[provider].take(asked, call, (now, now + lag));
    if inner.chance.falls(80) {
        inner.operators[provider].reject(place);
        return (reference, Word::Rejected, amount);
    }
    let statement = inner.operators[provider].kind == Kind::StatementOnly;
    let later = match inner.chance.between(0, 9) {
        0..5 => inner.chance.between(0, 2 * SECOND),
        5..8 => inner.chance.between(SECOND, 60 * SECOND),
        _ if statement => inner.chance.between(0, 10 * HOUR),
        _ => inner.chance.between(0, 2 * HOUR),
    };
    inner.after(later, Event::Execute { provider, place });
    (reference, Word::Accepted, amount)
}

/// A provider answers questions, or shows its statement.
fn asked(inner: &mut Inner, provider: usize, references: &[Reference]) -> Answer {
    let now = inner.now;
    let mut words = Vec::new();
    for reference in references {
        let operator = &inner.operators[provider];
        let hidden = operator.of(*reference).next().is_some();
        let shown = operator.shown(*reference, now).map(|(_, one)| one.clone());
        let statement = operator.kind == Kind::StatementOnly;
        let word = match &shown {
            Some(one) if statement && matches!(one.stage, Standing::Pending | Standing::Rejected) => Word::Absent,
            Some(one) => word_of(one.stage, one.short_of_float),
            None => Word::Absent,
        };
        if word == Word::Absent && hidden && !statement {
            inner.note(Rare::NotYetVisible);
        }
        let outlived =
            inner.first_sent(*reference).is_some_and(|at| now >= at.saturating_add(inner.operators[provider].window));
        if word == Word::Absent && inner.operators[provider].kind.dedupes() && outlived {
            inner.note(Rare::KeyForgotten);
        }
        // A status that nobody knows is no word at all.
        if inner.storm && inner.chance.falls(50) {
            continue;
        }
        let other = word == Word::Settled && inner.storm && inner.chance.falls(10);
        if other {
            inner.note(Rare::OtherAmount);
        }
        let amount = shown.map_or(0, |one| one.asked.amount_minor);
        words.push((*reference, if other { Word::OtherAmount } else { word }, amount));
    }
    Answer::Words(words)
}

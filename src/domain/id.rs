//! Ids: one generic type, a prefix for people and a number for the database.
//!
//! A number is milliseconds since 1970 and 12 bits of a counter that the store allots, so ids ascend in time and a
//! database restored from a backup never allots one twice (it would have to make four million a second since).
//! Eight bytes keep the hot rows narrow, which a UUID in text would not. Deliberately not here: allotting
//! (`store::Store::allot`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use paymaster_connectors::contract::Reference;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds take the upper bits; the lower 12 count. Until 2039 a number fits in 53 bits, which planners and
/// JSON readers that think in doubles hold exactly.
pub const COUNTER_BITS: u32 = 12;

/// What an id names; gives its prefix.
pub trait Kind {
    /// Three or four lower-case letters before the underscore.
    const PREFIX: &'static str;
}

/// The id of a `T`. Shown as `prl_` and 13 characters; stored as a BIGINT.
pub struct Id<T>(i64, PhantomData<fn() -> T>);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),* $(,)?) => {
        $( $(#[$doc])* #[derive(Debug, Clone, Copy, PartialEq, Eq)] pub enum $name {}
           impl Kind for $name { const PREFIX: &'static str = $prefix; } )*
    };
}

kinds! {
    /// An organisation that shares nothing with another.
    Tenant = "ten",
    /// A social programme of a tenant.
    Programme = "prg",
    /// A period a programme pays for.
    Cycle = "cyc",
    /// Who is owed what in one cycle.
    Payroll = "prl",
    /// What one provider gets at once.
    Batch = "bat",
    /// What a provider said, or a person decided.
    Evidence = "evd",
    /// A person's task.
    Exception = "exc",
    /// One outgoing message to a registry.
    Publication = "pub",
    /// A bearer token.
    Token = "tok",
    /// Where a provider leaves files for us.
    Mailbox = "mbx",
    /// A file that a provider left.
    File = "fil",
    /// An account statement in such a file.
    Statement = "stm",
    /// One movement of a statement, or one payment of it.
    Entry = "ent",
}

impl<T: Kind> Id<T> {
    /// Wraps a stored number.
    pub fn new(number: i64) -> Self {
        Self(number, PhantomData)
    }

    /// The stored number.
    pub fn number(self) -> i64 {
        self.0
    }

    /// Reads `prefix_XXXXXXXXXXXXX`; `None` for anything else, another kind's prefix included.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(T::PREFIX)?.strip_prefix('_')?;
        let padded = format!("{digits}000");
        Reference::parse(&padded).map(|reference| Self::new(reference.number()))
    }
}

impl<T: Kind> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reference = Reference::new(self.0, 0);
        write!(f, "{}_{}", T::PREFIX, &reference.as_str()[..13])
    }
}

impl<T: Kind> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: Kind> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: Kind> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("expected an id such as {}_0…", T::PREFIX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_different_kinds_do_not_mix() {
        let id = Id::<Payroll>::new(7_612_345_678_901_234);
        assert_eq!(id.to_string(), "prl_006RBCDC1JBZJ");
        assert_eq!(Id::parse("prl_006RBCDC1JBZJ"), Some(id));
        assert_eq!(Id::<Batch>::parse("prl_006RBCDC1JBZJ"), None);
        assert_eq!(Id::<Payroll>::parse("prl_006RBCDC1JBZ"), None);
        assert_eq!(Id::<Payroll>::parse("prl_006rbcdc1jbzj"), None);
    }
}

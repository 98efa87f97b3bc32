//! What a connector brings to the suite: a counterpart that keeps its own ledger, and a way to open both.
//! Deliberately not here: the cases, and anything that only one protocol knows.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use paymaster_connectors::contract::{Batch, Connector, Currency, Money};

/// Every credential of every subject; it must never be seen in evidence, errors or stored bytes.
pub const CANARY: &str = "canary5f2c81d0";
/// Most payments in a batch of the suite.
pub const ITEMS_MAX: u32 = 1_000;

/// One line of the table.
pub struct Subject {
    /// For messages.
    pub name: &'static str,
    /// Starts a counterpart and opens the connector against it.
    pub open: fn(Setup) -> BoxFuture<'static, Rig>,
    /// Callback bodies in the protocol's own shape that nobody sent: about a batch nobody knows, and about
    /// these payments, which are not paid.
    pub forgeries: fn(&Batch) -> Vec<Vec<u8>>,
}

/// What a case needs of a counterpart and of the connector's settings.
pub struct Setup {
    /// What the counterpart pays in.
    pub currency: Currency,
    /// Most payments in a batch, for the connector's settings.
    pub items_max: u32,
    /// The credential the connector is given; the counterpart lets [`CANARY`] in.
    pub credential: &'static str,
    /// An address to use in place of the counterpart's.
    pub address: Option<SocketAddr>,
    /// Whether the connector is to believe callbacks as far as its protocol allows.
    pub callbacks_believed: bool,
}

impl Setup {
    /// Kenyan shillings, and nothing wrong.
    pub fn plain() -> Self {
        Self::of("KES")
    }

    /// A currency, and nothing wrong.
    pub fn of(code: &str) -> Self {
        Self {
            currency: Currency::parse(code).unwrap(),
            items_max: ITEMS_MAX,
            credential: CANARY,
            address: None,
            callbacks_believed: false,
        }
    }
}

/// A running counterpart and the connector that speaks to it.
pub struct Rig {
    pub counterpart: Box<dyn Counterpart>,
    pub connector: Arc<dyn Connector>,
}

/// What goes wrong at the counterpart, from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Every write is carried out and never answered.
    LostReply,
    /// Every write is dropped before anything is done, the first time it is seen.
    LostRequest,
    /// Everything is carried out, and shown under a status outside the protocol's vocabulary.
    ForeignStatus,
}

/// A kind of payee at the counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payee {
    /// Can be paid.
    Good,
    /// The counterpart refuses to pay.
    Refused,
}

/// The other side, in this process and over a real socket. Its ledger is the oracle.
#[async_trait]
pub trait Counterpart: Send + Sync {
    /// Replaces what goes wrong.
    fn suffer(&self, trouble: Trouble);

    /// Returns when everything it accepted is carried out.
    async fn quiet(&self);

    /// Every credit it executed: the payer's reference and the sum.
    fn credits(&self) -> Vec<(String, Money)>;

    /// Calls that could have moved money, whatever it answered.
    fn writes(&self) -> u64;

    /// The account of payee number `n`.
    fn payee(&self, kind: Payee, n: usize) -> String;
}

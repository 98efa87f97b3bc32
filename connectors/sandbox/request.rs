//! What a client asked for and how far it has come. Values only; `book.rs` changes them.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::reason::Reason;
use super::wire::Item;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A batch that waits for its checker.
    Created,
    /// Being carried out.
    Approved,
    /// Carried out.
    Completed,
}

/// A payment of a request that was not made.
pub(super) struct Rejection {
    pub(super) reference: Box<str>,
    pub(super) payee: Box<str>,
    pub(super) debit: Arc<str>,
    pub(super) reason: &'static Reason,
    pub(super) at_micros: i64,
}

/// What a client asks to be carried out.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) correlation: Option<Uuid>,
    pub(super) callback: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) approved: bool,
    pub(super) batch: bool,
    pub(super) items: Vec<Item>,
}

impl Asked {
    /// What the faults of this call are drawn by.
    pub(super) fn key(&self) -> String {
        let first = || self.items.first().map(|item| item.reference.to_string());
        self.correlation.map(|id| id.to_string()).or_else(first).unwrap_or_default()
    }

    pub(super) fn payees(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(Item::payee_id)
    }
}

/// An accepted request.
pub(super) struct Request {
    pub(super) correlation: Option<Uuid>,
    pub(super) server: Uuid,
    /// Batch id, or the operator's reference of a single payment.
    pub(super) object: Box<str>,
    /// Set for single payments only.
    pub(super) number: Option<u64>,
    /// The first request under the same correlation id; often itself.
    pub(super) first: u32,
    /// How many came before it under the same correlation id.
    pub(super) copy: u32,
    /// It holds only what an earlier copy had rejected.
    pub(super) replaces: bool,
    pub(super) callback: Option<Box<str>>,
    pub(super) title: Option<Box<str>>,
    pub(super) description: Option<Box<str>>,
    pub(super) stage: Stage,
    pub(super) at_micros: i64,
    pub(super) ended_micros: Option<i64>,
    pub(super) items_count: usize,
    /// Emptied when a batch ends and nothing is held; a single payment keeps its item to be shown.
    pub(super) items: Vec<Item>,
    /// The first item that is not looked at yet.
    pub(super) next: usize,
    /// Positions carried out before a restart.
    pub(super) done: HashSet<u32>,
    /// Positions that a fault keeps from any end.
    pub(super) held: Vec<u32>,
    /// Positions that were held and are looked at again.
    pub(super) resumed: Vec<u32>,
    /// Credits that a fault will take back.
    pub(super) returning: Vec<u32>,
    pub(super) completions: Vec<u32>,
    pub(super) rejections: Vec<Rejection>,
    /// Somebody is at it.
    pub(super) running: bool,
    /// It was to be started while somebody was at it.
    pub(super) again: bool,
}

impl Request {
    /// What the faults of this request are drawn by.
    pub(super) fn key(&self) -> String {
        self.correlation.map_or_else(|| self.object.to_string(), |id| id.to_string())
    }

    pub(super) fn payees(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(Item::payee_id)
    }

    /// The next position to carry out.
    pub(super) fn take_next(&mut self) -> Option<u32> {
        if self.next < self.items.len() {
            self.next += 1;
            return u32::try_from(self.next - 1).ok();
        }
        self.resumed.pop()
    }
}

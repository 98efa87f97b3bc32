//! How files travel to and from a bank: through a folder or over SFTP, by the same rules.
//!
//! A file of ours appears under its name whole or not at all, and never in place of another. Only what went wrong
//! before the rename was sent is `Unavailable` or `Blocked`; after that it is in doubt.
//! Deliberately not here: what stands in a file, how it is named, and any second attempt.

mod collect;
mod connect;
mod folder;
mod place;
mod put;
mod settings;
mod sftp;
#[cfg(test)]
mod tests;

pub use settings::{Collected, HostKeys, Kind, Settings};

use crate::contract::{Failure, Gate, Inbox};
use place::Place;
use settings::Plan;

/// One way to a bank and back. It holds no connection: each call opens its own and closes it.
#[derive(Debug)]
pub struct Delivery {
    plan: Plan,
    way: Way,
}

/// What a file travels through.
#[derive(Debug)]
enum Way {
    Folder(folder::Folder),
    Sftp(Box<connect::Server>),
}

/// Where a file that was put earlier is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It was delivered: it lies in the outbox, with its marker if one is due, or where the bank puts what it took.
    There,
    /// It lies in the outbox and its marker does not, so a bank that waits for markers does not take it. Putting it
    /// again writes the marker and nothing else.
    Unmarked,
    /// Something of another size has its name.
    OtherSize,
    /// Only the temporary name is there: it was not delivered.
    OnlyPart,
    /// Nothing. This proves that it did not arrive only where `sent` covers all that the bank took.
    Nothing,
}

impl Delivery {
    /// Puts one file that carries `items` payments. The gate is asked before the upload begins, and again right
    /// before the file gets its name. What was delivered earlier is not written again.
    pub async fn put(&self, name: &str, bytes: &[u8], items: u32, gate: &dyn Gate) -> Result<(), Failure> {
        settings::check_name(name)?;
        let place = self.way.open().await?;
        let done = put::put(&*place, &self.plan, &put::Outgoing { name, bytes, items }, gate).await;
        place.close().await;
        done
    }

    /// Looks where a file of that name and size is. Never moves money.
    pub async fn look(&self, name: &str, bytes: u64) -> Result<Sight, Failure> {
        settings::check_name(name)?;
        let place = self.way.open().await?;
        let sight = put::look(&*place, &self.plan, name, bytes).await;
        place.close().await;
        sight.map_err(place::Trouble::failure)
    }

    /// Fetches what is new in the folders `collect` to `inbox`, then archives, deletes or leaves it. One file that
    /// gives trouble does not stop the others; the first trouble is told at the end.
    pub async fn collect(&self, inbox: &mut dyn Inbox) -> Result<(), Failure> {
        if self.plan.collect.is_empty() {
            return Ok(());
        }
        let place = self.way.open().await?;
        let done = collect::collect(&*place, &self.plan, inbox).await;
        place.close().await;
        done
    }
}

impl Way {
    async fn open(&self) -> Result<Box<dyn Place>, Failure> {
        match self {
            Self::Folder(folder) => Ok(Box::new(folder.clone())),
            Self::Sftp(server) => Ok(Box::new(server.connect().await?)),
        }
    }
}

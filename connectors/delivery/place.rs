//! What the rules of delivery need of a place where files lie, and how a step there can fail.
//! Deliberately not here: the rules, and any particular place.

use std::fs::File;

use async_trait::async_trait;

use crate::contract::{Failure, Reason, ReasonClass};

/// A name inside a folder, both below the root of the place.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub folder: &'a str,
    pub name: &'a str,
}

/// What a name stands for. Links are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// An ordinary file; not a folder, link, device or pipe.
    pub is_file: bool,
    pub bytes: u64,
    /// Seconds since 1970.
    pub modified: Option<i64>,
}

/// A place where files lie. Each step is tried once.
#[async_trait]
pub(super) trait Place: Send + Sync {
    /// Makes sure that a folder is there.
    async fn enter(&self, folder: &str) -> Result<(), Trouble>;
    /// What a name stands for; `None` when nothing has it.
    async fn stat(&self, at: At<'_>) -> Result<Option<Stat>, Trouble>;
    /// Names in a folder, in no order, as they lie there; at most `most` of them.
    async fn list(&self, folder: &str, most: usize) -> Result<Vec<(Vec<u8>, Stat)>, Trouble>;
    /// Writes a whole file and makes it last, over what had the name.
    async fn write(&self, at: At<'_>, bytes: &[u8]) -> Result<(), Trouble>;
    /// Gives a file a new name that nothing has; refused when something has it. The one step that moves money.
    async fn rename_new(&self, from: At<'_>, to: At<'_>) -> Result<(), Trouble>;
    /// Removes a file.
    async fn remove(&self, at: At<'_>) -> Result<(), Trouble>;
    /// Copies a file of that size; false when it turns out to have another.
    async fn fetch(&self, at: At<'_>, bytes: u64, into: File) -> Result<bool, Trouble>;
    /// Makes a folder and those above it, where they are missing.
    async fn make_folder(&self, folder: &str) -> Result<(), Trouble>;
    /// Says goodbye.
    async fn close(&self) {}
}

/// How a step failed. The kind is the decision; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The place said that the file or folder is not there.
    Missing(String),
    /// The place said that we may not.
    Denied(String),
    /// The place said no, for another cause such as a full disk.
    No(String),
    /// The step was never begun: the connection had ended before.
    Unsent(String),
    /// No answer came, so nobody knows whether the step was done.
    Lost(String),
    /// Our own side failed while it kept what was fetched.
    Ours(String),
}

impl Trouble {
    /// Whether the place itself said no.
    pub fn answered(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Denied(_) | Self::No(_))
    }

    /// What it means where nothing that moves money was begun.
    pub fn failure(self) -> Failure {
        let blocked = matches!(self, Self::Missing(_) | Self::Denied(_));
        let reason = self.reason();
        if blocked { Failure::Blocked(reason) } else { unavailable(reason) }
    }

    /// What happened, for whoever decides what it means.
    pub fn reason(self) -> Reason {
        let (class, code, text) = match self {
            Self::Missing(text) => (ReasonClass::NotExecuted, "folder_missing", text),
            Self::Denied(text) => (ReasonClass::NotExecuted, "permission_denied", text),
            Self::No(text) => (ReasonClass::Unknown, "place_refused", text),
            Self::Unsent(text) | Self::Lost(text) => (ReasonClass::Unknown, "connection_lost", text),
            Self::Ours(text) => (ReasonClass::Unknown, "own_disk", text),
        };
        Reason::new(class, code, text)
    }
}

/// Nothing went; try again later.
pub(super) fn unavailable(reason: Reason) -> Failure {
    Failure::Unavailable { reason, retry_after_seconds: None }
}

//! Files that a provider leaves for us: how they are listed, where they are put, and why one cannot be read.
//! Deliberately not here: how they travel, and what stands in them.

use std::io::{self, Read};

use async_trait::async_trait;

use super::{StatementSink, StatusSink};

/// A file as the place where it lies lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its folder there, empty for the only one.
    pub folder: String,
    /// Its name, without a folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written, seconds since 1970, where that is told.
    pub modified: Option<i64>,
}

/// Where a connector puts the files it fetched.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Whether a file of this folder, name, size and time was taken before: it need not be fetched again.
    async fn has(&mut self, listed: &Listed) -> anyhow::Result<bool>;
    /// Stores a fetched file, which stands at its beginning. Once this returns, the file may be removed from where
    /// it lay.
    async fn take(&mut self, listed: &Listed, file: Box<dyn Read + Send>) -> anyhow::Result<()>;
}

/// Where the content of a file goes, be it a statement or a status report.
pub trait FileSink: StatementSink + StatusSink {}

impl<T: StatementSink + StatusSink> FileSink for T {}

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not what it should be.
    #[error("unreadable at byte {at} ({code}): {text}")]
    Unreadable {
        /// Stable lower-case code.
        code: &'static str,
        /// Byte of the file where it was noticed.
        at: u64,
        /// For people.
        text: String,
    },
    /// The bytes could not be fetched.
    #[error("the file could not be read: {0}")]
    Io(#[from] io::Error),
    /// Whoever is told what stands in the file asked to stop.
    #[error("reading was stopped: {0}")]
    Stopped(anyhow::Error),
}

impl ReadError {
    /// A file that is not what it should be.
    pub fn unreadable(code: &'static str, at: u64, text: impl Into<String>) -> Self {
        Self::Unreadable { code, at, text: text.into() }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { code, .. } => code,
            Self::Io(_) => "io",
            Self::Stopped(_) => "stopped",
        }
    }
}

//! A statement sink that keeps all that it is told, for the tests of the readers.

use crate::contract::{Entry, EntryDetail, EntryFault, StatementEnd, StatementHead, StatementSink};

/// Keeps all that is told.
#[derive(Default)]
pub struct Kept {
    pub heads: Vec<StatementHead>,
    pub entries: Vec<Entry>,
    pub details: Vec<EntryDetail>,
    pub faults: Vec<EntryFault>,
    pub ends: Vec<StatementEnd>,
}

impl StatementSink for Kept {
    fn head(&mut self, head: &StatementHead) -> anyhow::Result<()> {
        self.heads.push(head.clone());
        Ok(())
    }
    fn entry(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.entries.push(entry.clone());
        Ok(())
    }
    fn detail(&mut self, detail: &EntryDetail) -> anyhow::Result<()> {
        self.details.push(detail.clone());
        Ok(())
    }
    fn fault(&mut self, fault: &EntryFault) -> anyhow::Result<()> {
        self.faults.push(fault.clone());
        Ok(())
    }
    fn end(&mut self, end: &StatementEnd) -> anyhow::Result<()> {
        self.ends.push(end.clone());
        Ok(())
    }
}

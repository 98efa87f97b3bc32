//! Many small exchanges into few messages: one line of evidence for each, the lines of reports first and in
//! their order, so that a report's position is its line. Deliberately not here: what the exchanges are about.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::tell;
use crate::contract::{Failure, Message, Outcome, Reason, Reference, Report, Said, Source};
use crate::http::Answer;

/// Most exchanges in one message.
const EXCHANGES_MAX: usize = 200;
/// Bytes of evidence after which a message is full.
const EVIDENCE_BYTES_FULL: usize = 4 << 20;
/// Longest time that something told is kept back.
pub const EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Exchange<'a> {
    reference: Reference,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_sent: Option<&'a str>,
}

impl Exchange<'_> {
    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What the calls for one payment told.
#[derive(Debug, Default)]
pub struct Told {
    lines: Vec<String>,
    /// What is known now, proven by the last line.
    pub report: Option<Report>,
}

impl Told {
    /// Keeps one answer as evidence.
    pub fn keep(&mut self, reference: Reference, answer: &Answer) {
        let body = String::from_utf8_lossy(&answer.body);
        let http_status = Some(answer.status.as_u16());
        self.lines.push(Exchange { reference, http_status, body: Some(&*body), not_sent: None }.line());
    }

    /// One answer and what it says.
    pub fn exchange(reference: Reference, answer: &Answer, report: Option<Report>) -> Self {
        let mut told = Self::default();
        told.keep(reference, answer);
        told.report = report;
        told
    }

    /// No write was begun.
    pub fn not_sent(reference: Reference, reason: Reason) -> Self {
        let line = Exchange { reference, http_status: None, body: None, not_sent: Some(&*reason.code) }.line();
        Self { lines: vec![line], report: Some(Report::instruction(reference, Outcome::NotSent(reason))) }
    }
}

/// Collects what was told and hands it over in lots.
pub struct Flush<'a> {
    said: &'a mut dyn Said,
    source: Source,
    origin: String,
    deaf: fn(Reason) -> Failure,
    reports: Vec<Report>,
    reported: Vec<String>,
    rest: Vec<String>,
    bytes: usize,
}

impl<'a> Flush<'a> {
    /// Hands over to `said`; `deaf` is what it means when that fails.
    pub fn new(said: &'a mut dyn Said, source: Source, origin: String, deaf: fn(Reason) -> Failure) -> Self {
        let (reports, reported, rest) = (Vec::new(), Vec::new(), Vec::new());
        Self { said, source, origin, deaf, reports, reported, rest, bytes: 0 }
    }

    /// Takes what was told, and hands over when there is enough.
    pub async fn add(&mut self, mut told: Told) -> Result<(), Failure> {
        self.bytes += told.lines.iter().map(String::len).sum::<usize>();
        if let Some(report) = told.report {
            self.reports.push(report);
            self.reported.push(told.lines.pop().unwrap_or_default());
        }
        self.rest.append(&mut told.lines);
        if self.reported.len() + self.rest.len() >= EXCHANGES_MAX || self.bytes >= EVIDENCE_BYTES_FULL {
            self.now().await?;
        }
        Ok(())
    }

    /// Hands over what there is.
    pub async fn now(&mut self) -> Result<(), Failure> {
        let mut lines = std::mem::take(&mut self.reported);
        lines.append(&mut self.rest);
        self.bytes = 0;
        if lines.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(lines.join("\n") + "\n");
        let message = Message { source: self.source, origin: self.origin.clone(), bytes };
        tell(self.said, message, std::mem::take(&mut self.reports), self.deaf).await
    }
}

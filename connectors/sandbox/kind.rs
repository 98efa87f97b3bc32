//! The four kinds of operator that there are, by what they do with a second copy and with questions.
//! Deliberately not here: what goes wrong (`faults.rs`); a kind is what an operator promises when nothing does.

use serde::{Deserialize, Serialize};

/// What the operator promises about copies and questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A correlation id is executed once, whatever came of it.
    #[default]
    Remembers,
    /// A correlation id is executed once, but what was rejected may be sent again under it, and may then be paid.
    ForgetsRejections,
    /// Every copy is executed.
    NoDedupe,
    /// Every copy is executed, nothing is said about payments: the account's statement is all there is.
    StatementOnly,
}

impl Kind {
    /// Every kind with the name it has in settings and calls.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("remembers", Self::Remembers),
        ("forgets_rejections", Self::ForgetsRejections),
        ("no_dedupe", Self::NoDedupe),
        ("statement_only", Self::StatementOnly),
    ];

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }
}

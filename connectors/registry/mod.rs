//! Towards registries: publishing what became of payments, as signed G2P Connect on-disburse messages.
//! Deliberately not here: which message is due, and where keys and bodies are kept.

mod sign;

pub use sign::{SignError, SigningKey, VerifyingKey};

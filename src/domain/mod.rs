//! The rules, as pure functions of values: no clock, no randomness, no I/O, no logging.
//! Deliberately not here: who calls them, and where anything is kept.

pub mod disbursement;
pub mod id;
pub mod judge;

//! The rules, as pure functions of values: no clock, no randomness, no I/O, no logging.
//! Deliberately not here: who calls them, and where anything is kept.

pub mod account;
pub mod batch;
pub mod calendar;
pub mod columns;
pub mod csv;
pub mod disbursement;
pub mod exception;
pub mod guard;
pub mod id;
pub mod identity;
pub mod judge;
pub mod matching;
pub mod pace;
pub mod payroll;
pub mod reconcile;
pub mod row;
#[cfg(test)]
mod search;
pub mod text;

//! Payrolls over a bank's files: what leaves, what comes back, what it proves, and what is left for people.

mod files;
mod paid;
mod stage;
mod statements;
mod window;

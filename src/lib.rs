//! Paymaster pays social-protection payrolls: nobody twice, nobody forgotten, every end with evidence.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod jobs;
pub mod sample;
pub mod store;

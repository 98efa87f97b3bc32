//! The one integration test binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it stands")]

mod api;
mod attack;
mod banks;
mod cases;
mod chaos;
mod cli;
mod conformance;
mod exceptions;
mod flow;
mod house;
mod pace;
mod processes;
mod properties;
mod reports;
mod restored;
mod tidy;
mod world;

//! Connectors: one folder per provider protocol, behind one contract.
//!
//! The compiler enforces that a connector knows nothing of the service: this package does not depend on it.

pub mod contract;
pub mod http;
pub mod registry;
pub mod sandbox;

//! Exceptions from their first word to the decision of two persons: where the money is meanwhile, what they may
//! decide, what becomes of newer generations, and paying again what was rejected.

mod decided;
mod doubt;
mod many;
mod newer;
mod reissue;
pub mod stage;
mod stopped;
mod unsent;

use paymaster::domain::disbursement::State;
use paymaster::domain::exception::Decision;

use crate::on_both;
use stage::{Stage, code};

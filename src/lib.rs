//! Paymaster pays social-protection payrolls: nobody twice, nobody forgotten, every end with evidence.

pub mod domain;
pub mod sample;

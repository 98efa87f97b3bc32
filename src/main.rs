//! The `paymaster` program.

fn main() {}

//! Bench.
use anyhow::Result;
use clap::Args;
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many rows
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
}
pub async fn run(_args: BenchArgs, _url: Option<String>) -> Result<()> {
    Ok(())
}

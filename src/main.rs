//! The `paymaster` program: parse, start what was asked for, and say how it ended.

use std::process::ExitCode;

use clap::Parser;
use paymaster::cli::Cli;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let default = if cli.is_role() { "paymaster=info,paymaster_connectors=info,warn" } else { "off" };
    let filter = EnvFilter::try_from_env("PAYMASTER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match cli.run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            paymaster::cli::complain(&error);
            ExitCode::from(2)
        }
    }
}

//! Roles that run until they are told to stop: serve, work, sandbox.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use paymaster_connectors::contract::{Currency, Money};
use paymaster_connectors::sandbox::{self, Kind, Sandbox};
use tokio::sync::watch;

use super::setup::currency;
use crate::config::Config;
use crate::jobs;

/// Serves the API, and works too unless the configuration says otherwise.
pub async fn serve(config: &Config) -> Result<()> {
    let engine = config.engine(true).await?;
    let stop = on_signal();
    let listener = tokio::net::TcpListener::bind(&config.serve.listen).await;
    let listener = listener.with_context(|| format!("cannot listen at {}", config.serve.listen))?;
    tracing::info!(address = %listener.local_addr()?, database = engine.store.db.name(), "serving; the API is described at /docs");
    let state = crate::api::ApiState {
        engine: engine.clone(),
        spool: config.data.join("spool"),
        body_bytes_max: config.serve.body_bytes_max,
    };
    let serving = crate::api::serve(listener, state, stop.clone());
    if config.serve.work {
        let working = jobs::run(engine, config.work.terms()?, stop);
        tokio::try_join!(serving, working)?;
    } else {
        serving.await?;
    }
    Ok(())
}

/// Drives batches and tells the registry.
pub async fn work(config: &Config) -> Result<()> {
    let engine = config.engine(true).await?;
    tracing::info!(database = engine.store.db.name(), providers = engine.providers.len(), "working");
    jobs::run(engine, config.work.terms()?, on_signal()).await
}

#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where the mobile-money operator listens
    #[arg(long, default_value = "127.0.0.1:7001")]
    pub operator: SocketAddr,
    /// Where the registry listens
    #[arg(long, default_value = "127.0.0.1:7002")]
    pub registry: SocketAddr,
    /// Folder of the operator's ledger; without it the ledger is gone with the process
    #[arg(long)]
    pub folder: Option<PathBuf>,
    /// ISO 4217 code
    #[arg(long, default_value = "KES", value_parser = currency)]
    pub currency: Currency,
    /// What the operator does with second copies and with questions
    #[arg(long, default_value = "remembers", value_parser = kinds())]
    pub kind: Kind,
    /// What the operator demands as X-API-Key
    #[arg(long)]
    pub api_key: Option<String>,
    /// Payees rejected in a thousand
    #[arg(long, default_value_t = 10)]
    pub reject_per_mille: u16,
    /// Replies lost in a thousand, after execution
    #[arg(long, default_value_t = 0)]
    pub lose_reply_per_mille: u16,
    /// Requests lost in a thousand, before execution
    #[arg(long, default_value_t = 0)]
    pub lose_request_per_mille: u16,
    /// The same seed makes the same faults
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Kinds of operator by name.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    let known = PossibleValuesParser::new(Kind::NAMES.map(|(name, _)| name));
    known.map(|name| Kind::parse(&name).unwrap_or_default())
}

/// Runs the sandbox.
pub async fn sandbox(args: SandboxArgs) -> Result<()> {
    let settings = sandbox::Settings {
        operator_address: args.operator,
        registry_address: args.registry,
        folder: args.folder,
        float: Money::new(i64::MAX / 2, args.currency),
        kind: args.kind,
        api_key: args.api_key,
        faults: sandbox::Faults {
            seed: args.seed,
            reject_per_mille: args.reject_per_mille,
            lose_reply_per_mille: args.lose_reply_per_mille,
            lose_request_per_mille: args.lose_request_per_mille,
            ..sandbox::Faults::default()
        },
        ..sandbox::Settings::new(args.currency)
    };
    let sandbox = Sandbox::start(settings).await?;
    println!("operator {}", sandbox.operator_url());
    println!("registry {}", sandbox.registry_url());
    jobs::stopped(on_signal()).await;
    sandbox.shutdown().await;
    Ok(())
}

/// Says true at the first SIGINT or SIGTERM.
fn on_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let interrupted = tokio::signal::ctrl_c();
        #[cfg(unix)]
        {
            let terminated = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => signal.recv().await,
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! { _ = interrupted => {}, _ = terminated => {} }
        }
        #[cfg(not(unix))]
        let _ = interrupted.await;
        tracing::info!("stopping; what is under way is finished first");
        // Nobody listens any more when the role has ended by itself.
        let _ = sender.send(true);
    });
    receiver
}

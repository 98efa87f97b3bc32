//! Placeholder until the door is merged.
use std::{path::PathBuf, sync::Arc};
#[derive(Clone)]
pub struct ApiState {
    pub engine: Arc<crate::engine::Engine>,
    pub spool: PathBuf,
    pub body_bytes_max: u64,
}
pub async fn serve(
    _l: tokio::net::TcpListener,
    _s: ApiState,
    stop: tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<()> {
    crate::jobs::stopped(stop).await;
    Ok(())
}

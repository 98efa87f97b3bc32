//! Connections: accepted, bounded in time until their headers are here, and ended in good order on shutdown.
//! Deliberately not here: TLS, and what is answered.

use std::time::Duration;

use anyhow::Result;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{ApiState, router, upload};

/// Longest wait for the headers of a request; it also ends connections that are idle.
const HEADERS_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest wait for open requests on shutdown.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(60);
/// Wait after a failed accept; it fails when there are no more file descriptors.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Serves until `stop` says so; requests that are under way then are answered first.
pub async fn serve(listener: TcpListener, state: ApiState, stop: watch::Receiver<bool>) -> Result<()> {
    upload::clear(&state.spool, state.engine.clock.now());
    let router = router(state);
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIME_MAX);
    let open = GracefulShutdown::new();
    let stopped = crate::jobs::stopped(stop);
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let Ok((socket, _)) = accepted else {
            tracing::warn!("a connection could not be accepted");
            tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder.serve_connection(TokioIo::new(socket), service);
        let watched = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(SHUTDOWN_TIME_MAX, open.shutdown()).await.is_err() {
        tracing::warn!("requests that did not end in time were cut off");
    }
    Ok(())
}

//! A line between the workers and somebody they speak with, which can be cut, refused, slowed and made half-open.
//! Deliberately not here: when that happens, and any understanding of what is said.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes passed on at once.
const PIECE_BYTES: usize = 16 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 256;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Clear,
    /// Whoever connects is refused; who is connected stays.
    Refusing,
    /// Every piece takes so much longer.
    Slow(Duration),
    /// Half-open: requests arrive, answers are swallowed.
    Deaf,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// The line. It ends with its test.
pub struct Proxy {
    pub address: SocketAddr,
    upstream: watch::Sender<Option<Upstream>>,
    weather: watch::Sender<Weather>,
    /// Counts the cuts; every connection ends when it changes.
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
    /// Holds the port while nobody listens at it.
    _port: TcpSocket,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Line {
    weather: watch::Receiver<Weather>,
    cuts: watch::Receiver<u64>,
    latency: Duration,
}

impl Proxy {
    /// A line on a port of its own, on which every piece takes `latency`.
    pub fn start(upstream: Option<Upstream>, latency: Duration) -> Self {
        let port = bound("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        let (upstream, weather, cuts) =
            (watch::Sender::new(upstream), watch::Sender::new(Weather::Clear), watch::Sender::new(0));
        let line = Line { weather: weather.subscribe(), cuts: cuts.subscribe(), latency };
        let task = tokio::spawn(accept(address, upstream.subscribe(), line));
        Self { address, upstream, weather, cuts, task, _port: port }
    }

    /// Leads somewhere else from now on, or nowhere.
    pub fn lead(&self, upstream: Option<Upstream>) {
        self.upstream.send_replace(upstream);
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Clear again. Connections on which something was swallowed would not make sense any more.
    pub fn clear(&self) {
        if self.weather.send_replace(Weather::Clear) == Weather::Deaf {
            self.cut();
        }
    }
}

/// Bound and not listening: the port is ours, and whoever connects to it is refused.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Listens while the line does not refuse and leads somewhere.
async fn accept(address: SocketAddr, mut upstream: watch::Receiver<Option<Upstream>>, mut line: Line) {
    let mut listener: Option<TcpListener> = None;
    let mut lines = JoinSet::new();
    loop {
        let open = upstream.borrow_and_update().is_some() && *line.weather.borrow_and_update() != Weather::Refusing;
        if !open {
            listener = None;
        } else if listener.is_none() {
            listener = Some(bound(address).listen(BACKLOG).unwrap());
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                let to = upstream.borrow().clone();
                if let (Ok((client, _)), Some(to)) = (accepted, to) {
                    let _ = client.set_nodelay(true);
                    lines.spawn(carry(client, to, line.clone()));
                }
            }
            Some(_) = lines.join_next() => {}
            changed = upstream.changed() => if changed.is_err() { return },
            changed = line.weather.changed() => if changed.is_err() { return },
        }
    }
}

/// One connection until one side ends it or it is cut.
async fn carry(client: TcpStream, to: Upstream, line: Line) {
    let mut cuts = line.cuts.clone();
    cuts.mark_unchanged();
    let carried = async {
        match to {
            Upstream::Tcp(address) => {
                let Ok(server) = TcpStream::connect(address).await else { return };
                let _ = server.set_nodelay(true);
                both(client.into_split(), server.into_split(), &line).await;
            }
            Upstream::Unix(path) => {
                let Ok(server) = UnixStream::connect(path).await else { return };
                both(client.into_split(), server.into_split(), &line).await;
            }
        }
    };
    tokio::select! {
        () = carried => {}
        _ = cuts.changed() => {}
    }
}

async fn both<R, W>(client: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin), server: (R, W), line: &Line)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (asking, answering) = (pump(client.0, server.1, line, false), pump(server.0, client.1, line, true));
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, line: &Line, answers: bool) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(read @ 1..) = from.read(&mut piece).await else { return };
        // How long a piece travels is what a line is made of; nobody waits by it for anything.
        let weather = *line.weather.borrow();
        let longer = if let Weather::Slow(longer) = weather { longer } else { Duration::ZERO };
        if !(line.latency + longer).is_zero() {
            tokio::time::sleep(line.latency + longer).await;
        }
        if answers && *line.weather.borrow() == Weather::Deaf {
            continue;
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}

/// The lines of a test, shared by whoever changes them.
pub struct Lines {
    pub operator: Proxy,
    pub registry: Proxy,
    pub database: Option<Proxy>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Operator,
    Registry,
    Database,
}

impl Lines {
    pub fn get(&self, which: Which) -> Option<&Proxy> {
        match which {
            Which::Operator => Some(&self.operator),
            Which::Registry => Some(&self.registry),
            Which::Database => self.database.as_ref(),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Proxy> {
        [Some(&self.operator), Some(&self.registry), self.database.as_ref()].into_iter().flatten()
    }
}

/// Kept by everybody who may change the lines.
pub type Shared = Arc<Lines>;

//! The other side of the protocols: a mobile-money operator and a registry over real sockets, with a ledger of
//! their own and faults drawn from a seed. Whoever tests a payer holds its books against this ledger.
//! Deliberately not here: anything a payer could share; the sandbox is written from the specifications alone.

mod admin;
mod book;
mod carry;
mod cut;
mod execute;
mod faults;
mod intake;
mod journal;
mod kind;
mod ledger;
mod mangle;
mod operator;
mod reason;
mod registry;
mod request;
pub mod sshd;
mod statement;
#[cfg(test)]
mod tests;
mod views;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use faults::{
    FOREIGN_STATUS, Fault, Faults, PAYEE_LOST_REPLY_SUFFIX, PAYEE_PENDING_SUFFIX, PAYEE_SUFFIXES, PAYEE_UNKNOWN_SUFFIX,
    RegistryFaults,
};
pub use kind::Kind;
pub use ledger::{Credit, Net, Summary};
pub use operator::Calls;
pub use registry::{OutcomesSummary, Told};

use crate::contract::{Currency, Money};
use crate::http;
use crate::registry::VerifyingKey;

/// What the float holds when nothing is said: more than any test pays out.
const FLOAT_MINOR_DEFAULT: i64 = 100_000_000_000_000;
/// Time between accepting a request and carrying it out.
const DELAY_MILLIS_DEFAULT: u64 = 20;
/// Longest wait for open connections when shutting down.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the operator listens; port 0 takes any free one.
    pub operator_address: SocketAddr,
    /// Where the registry listens; port 0 takes any free one.
    pub registry_address: SocketAddr,
    /// Keeps the operator's ledger across restarts when given.
    pub folder: Option<PathBuf>,
    /// The float before the first credit; its currency is the only one the operator pays in.
    pub float: Money,
    /// What the operator does with copies and questions.
    pub kind: Kind,
    /// The key that clients must send as `X-API-Key`; without one every client is let in.
    pub api_key: Option<String>,
    /// Time between accepting a request and carrying it out.
    pub delay_millis: u64,
    /// What goes wrong at the operator.
    pub faults: Faults,
    /// What goes wrong at the registry.
    pub registry_faults: RegistryFaults,
    /// Who may publish; without one, signatures are not looked at.
    pub verifying_key: Option<VerifyingKey>,
}

impl Settings {
    /// Free ports on the loopback address, nothing kept on disk, no key, a float nobody empties, default faults.
    pub fn new(currency: Currency) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            operator_address: any,
            registry_address: any,
            folder: None,
            float: Money::new(FLOAT_MINOR_DEFAULT, currency),
            kind: Kind::default(),
            api_key: None,
            delay_millis: DELAY_MILLIS_DEFAULT,
            faults: Faults::default(),
            registry_faults: RegistryFaults::default(),
            verifying_key: None,
        }
    }
}

/// A running operator and registry.
pub struct Sandbox {
    operator: Arc<operator::Operator>,
    registry: Arc<registry::Registry>,
    operator_address: SocketAddr,
    registry_address: SocketAddr,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Sandbox {
    /// Opens the ledger, takes up what an earlier run left undone, and listens.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let book = book::Book::open(settings.float, settings.kind, settings.folder.as_deref())?;
        let unfinished = book.unfinished();
        let client = http::client(execute::CALLBACK_TIMEOUT).context("no client for callbacks")?;
        let operator = operator::Operator::new(operator::Parts {
            book,
            faults: settings.faults,
            api_key: settings.api_key,
            delay: Duration::from_millis(settings.delay_millis),
            client,
        });
        let registry = registry::Registry::new(settings.registry_faults, settings.verifying_key);
        let stop = watch::Sender::new(false);
        let (operator_lines, operator_address) = listen(settings.operator_address).await?;
        let (registry_lines, registry_address) = listen(settings.registry_address).await?;
        let servers = vec![
            serve(operator_lines, operator::router(operator.clone()), stop.subscribe()),
            serve(registry_lines, registry::router(registry.clone()), stop.subscribe()),
        ];
        for index in unfinished {
            operator.start(index);
        }
        Ok(Self { operator, registry, operator_address, registry_address, stop, servers })
    }

    /// Base address of the operator's API, version prefix included.
    pub fn operator_url(&self) -> String {
        format!("http://{}{}", self.operator_address, operator::PREFIX)
    }

    /// Address of the sandbox's own doors at the operator, without a path.
    pub fn operator_admin_url(&self) -> String {
        format!("http://{}", self.operator_address)
    }

    /// The whole address that on-disburse messages are posted to.
    pub fn registry_url(&self) -> String {
        format!("http://{}{}", self.registry_address, registry::PATH)
    }

    /// Address of the sandbox's own doors at the registry, without a path.
    pub fn registry_admin_url(&self) -> String {
        format!("http://{}", self.registry_address)
    }

    /// Every credit that the operator executed, in order. A copy.
    pub fn ledger(&self) -> Vec<Credit> {
        self.operator.book().ledger.credits().to_vec()
    }

    /// Looks at every executed credit without copying. The operator waits meanwhile.
    pub fn visit_ledger(&self, visit: impl FnMut(&Credit)) {
        self.operator.book().ledger.credits().iter().for_each(visit);
    }

    /// What each reference came to, credits less returns. More than one credit is a double payment.
    pub fn net(&self) -> HashMap<String, Net> {
        self.operator.book().ledger.net().into_iter().map(|(reference, net)| (reference.to_owned(), net)).collect()
    }

    /// The ledger in a few numbers.
    pub fn ledger_summary(&self) -> Summary {
        self.operator.book().ledger.summary()
    }

    /// How often the operator was called, whatever it answered.
    pub fn calls(&self) -> Calls {
        self.operator.calls()
    }

    /// What the registry was last told about each payment, in the order of first mention. A copy.
    pub fn outcomes(&self) -> Vec<Told> {
        self.registry.outcomes()
    }

    /// The outcomes in a few numbers.
    pub fn outcomes_summary(&self) -> OutcomesSummary {
        self.registry.summary()
    }

    /// Replaces the operator's faults.
    pub fn set_faults(&self, faults: Faults) {
        self.operator.set_faults(faults);
    }

    /// Changes what the operator does with copies and questions from now on.
    pub fn set_kind(&self, kind: Kind) {
        self.operator.book().kind = kind;
    }

    /// Sets what the operator may still pay out.
    pub fn set_float(&self, minor: i64) {
        self.operator.book().ledger.set_float(minor);
    }

    /// Nothing goes wrong any more, and everything that waits is carried on.
    pub fn heal(&self) {
        self.operator.heal();
    }

    /// Takes back every credit of these references that did not come back yet, and tells whoever asked to be told.
    /// Returns how many came back.
    pub async fn give_back(&self, references: &[&str]) -> anyhow::Result<usize> {
        self.give_back_at(&self.operator.credits_of(|reference| references.contains(&reference))).await
    }

    /// The same for credits by their place in the ledger.
    pub async fn give_back_at(&self, credits: &[u32]) -> anyhow::Result<usize> {
        execute::give_back(&self.operator, credits).await.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))
    }

    /// Returns when every accepted request was carried out and its callbacks were made.
    pub async fn quiet(&self) {
        self.operator.quiet().await;
    }

    /// Stops listening, lets open calls end, and writes the ledger out. Work in hand is left for the next start.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        for mut server in self.servers {
            if tokio::time::timeout(SHUTDOWN_MAX, &mut server).await.is_err() {
                server.abort();
            }
        }
        self.operator.stop().await;
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<(cut::Lines, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((cut::Lines(listener), address))
}

fn serve(lines: cut::Lines, router: axum::Router, mut stop: watch::Receiver<bool>) -> JoinHandle<std::io::Result<()>> {
    let service = router.into_make_service_with_connect_info::<cut::Cut>();
    tokio::spawn(async move {
        let stopped = async move {
            // A sender that is gone means the sandbox was dropped, which also stops it.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        axum::serve(lines, service).with_graceful_shutdown(stopped).await
    })
}

/// Microseconds since 1970. The sandbox stands for other institutions, so it has a clock of its own.
#[expect(clippy::disallowed_methods, reason = "the sandbox is the outside world and has its own time")]
fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

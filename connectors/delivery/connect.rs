//! The way to an SFTP server: who it must be, who we are, and what it means when either is not accepted.
//! Deliberately not here: what is done once files can travel.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Config, Handle, Handler, Msg};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, ChannelMsg, Preferred};
use russh_sftp::client::RawSftpSession;
use tokio::net::TcpStream;

use super::place::unavailable;
use super::sftp::Session;
use crate::contract::{Failure, Reason, ReasonClass};
use crate::secret::Secret;

/// Most messages that are read until the server answers whether it offers SFTP.
const MESSAGES_MAX: usize = 100;

/// Which server, who it must be, and who we are there.
#[derive(Debug)]
pub(super) struct Server {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub root: String,
    pub host_keys: Vec<PublicKey>,
    pub private_key: Option<Arc<PrivateKey>>,
    pub password: Option<Secret>,
    /// Longest wait for one answer.
    pub timeout: Duration,
}

/// Reads a pinned key.
pub(super) fn host_key(line: &str) -> Result<PublicKey, String> {
    PublicKey::from_openssh(line.trim())
        .map_err(|error| format!("host_key must be a line such as `ssh-ed25519 AAAA…`: {error}"))
}

/// Reads our key.
pub(super) fn private_key(text: &str) -> Result<Arc<PrivateKey>, String> {
    let key = russh::keys::decode_secret_key(text, None).map_err(|error| {
        format!("private_key must hold the text of an OpenSSH private key without a passphrase: {error}")
    })?;
    Ok(Arc::new(key))
}

/// Looks at the key that the server shows.
pub(super) struct Greeter {
    pinned: Vec<PublicKey>,
}

/// Why no session came to be.
#[derive(Debug)]
pub(super) enum Greeting {
    /// The server showed another key; its fingerprint.
    Stranger(String),
    Failed(russh::Error),
}

impl From<russh::Error> for Greeting {
    fn from(error: russh::Error) -> Self {
        Self::Failed(error)
    }
}

impl Handler for Greeter {
    type Error = Greeting;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Greeting> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                if self.pinned.iter().any(|pinned| pinned.key_data() == key.key_data()) {
                    return Ok(true);
                }
                Err(Greeting::Stranger(key.fingerprint(HashAlg::Sha256).to_string()))
            }
            PublicKeyOrCertificate::Certificate(_) => Err(Greeting::Stranger("a certificate".to_owned())),
        }
    }
}

impl Server {
    /// Connects, makes sure who the server is, logs in, and begins SFTP. Nothing can have moved before that is done.
    pub async fn connect(&self) -> Result<Session, Failure> {
        let address = (self.host.as_str(), self.port);
        let stream = self.within("the server", TcpStream::connect(address)).await?;
        let stream = stream.map_err(|error| not_connected(&format!("{}:{}: {error}", self.host, self.port)))?;
        // Small requests must not wait for each other; without it they are only slower.
        let _ = stream.set_nodelay(true);
        let greeter = Greeter { pinned: self.host_keys.clone() };
        let greeted = russh::client::connect_stream(Arc::new(self.config()), stream, greeter);
        let greeted = self.within("the server's greeting", greeted).await?;
        let mut handle = greeted.map_err(|greeting| self.not_greeted(greeting))?;
        self.within("the login", self.log_in(&mut handle)).await??;
        let channel = self.within("SFTP", begin_sftp(&handle)).await??;
        let config = russh_sftp::client::Config {
            request_timeout_secs: self.timeout.as_secs(),
            ..russh_sftp::client::Config::default()
        };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        let version = sftp.init().await.map_err(|error| not_connected(&error.to_string()))?;
        let fsync = version.extensions.get("fsync@openssh.com").is_some_and(|version| version == "1");
        Ok(Session { handle, sftp, fsync, root: self.root.clone(), timeout: self.timeout })
    }

    /// The server is asked for a key of the pinned kinds, and never signs with SHA-1.
    fn config(&self) -> Config {
        let mut kinds: Vec<Algorithm> = Vec::new();
        for key in &self.host_keys {
            let of_key = match key.algorithm() {
                Algorithm::Rsa { .. } => {
                    [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) }).to_vec()
                }
                other => vec![other],
            };
            kinds.extend(of_key.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
        }
        Config {
            preferred: Preferred { key: Cow::Owned(kinds), ..Preferred::DEFAULT },
            // A connection that nobody speaks through any more does not stay for ever.
            keepalive_interval: Some(self.timeout),
            ..Config::default()
        }
    }

    async fn within<T>(&self, what: &str, step: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, step).await.map_err(|_| {
            let text = format!("{what} did not answer within {} seconds", self.timeout.as_secs());
            unavailable(Reason::unknown("timed_out", text))
        })
    }

    fn not_greeted(&self, greeting: Greeting) -> Failure {
        let seen = match greeting {
            Greeting::Stranger(fingerprint) => fingerprint,
            Greeting::Failed(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. }) => theirs.join(", "),
            Greeting::Failed(error) => return not_connected(&error.to_string()),
        };
        let pinned: Vec<String> =
            self.host_keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
        // What is to be done stands first, because long texts are cut.
        let text = format!("ask the bank, then set host_key: the server shows {seen}, pinned is {}", pinned.join(", "));
        Failure::Blocked(Reason::new(ReasonClass::NotExecuted, "host_key_changed", text))
    }

    /// By key, by password, or by both where the server wants both.
    async fn log_in(&self, handle: &mut Handle<Greeter>) -> Result<(), Failure> {
        let failed = |error: russh::Error| not_connected(&error.to_string());
        if let Some(key) = &self.private_key {
            let hash = handle.best_supported_rsa_hash().await.map_err(failed)?.flatten().or(Some(HashAlg::Sha256));
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            match handle.authenticate_publickey(self.user.as_str(), key).await.map_err(failed)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { .. } if self.password.is_some() && !handle.is_closed() => {}
                AuthResult::Failure { .. } => return Err(self.not_let_in(handle)),
            }
        }
        let Some(password) = &self.password else { return Err(self.not_let_in(handle)) };
        match handle.authenticate_password(self.user.as_str(), password.reveal()).await.map_err(failed)? {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { .. } => Err(self.not_let_in(handle)),
        }
    }

    fn not_let_in(&self, handle: &Handle<Greeter>) -> Failure {
        if handle.is_closed() {
            return not_connected("the connection ended during the login");
        }
        let text = format!("the server does not let {} in with the key or password that is set", self.user);
        Failure::Blocked(Reason::new(ReasonClass::NotExecuted, "auth_refused", text))
    }
}

async fn begin_sftp(handle: &Handle<Greeter>) -> Result<Channel<Msg>, Failure> {
    let failed = |error: russh::Error| not_connected(&error.to_string());
    let mut channel = handle.channel_open_session().await.map_err(failed)?;
    channel.request_subsystem(true, "sftp").await.map_err(failed)?;
    for _ in 0..MESSAGES_MAX {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(channel),
            Some(ChannelMsg::Failure) => {
                let reason = Reason::new(ReasonClass::NotExecuted, "no_sftp", "the server offers this user no SFTP");
                return Err(Failure::Blocked(reason));
            }
            Some(_) => {}
            None => break,
        }
    }
    Err(not_connected("the connection ended before SFTP began"))
}

fn not_connected(text: &str) -> Failure {
    unavailable(Reason::unknown("not_connected", text))
}

//! An SFTP server, whose key must be one that is pinned. One connection for what is done at one time.

use std::borrow::Cow;
use std::fs::File;
use std::future::Future;
use std::io::{Seek as _, SeekFrom};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{self, Handle};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate, decode_secret_key};
use russh_sftp::client::error::Error;
use russh_sftp::client::{Config, RawSftpSession, SftpSession};
use russh_sftp::protocol::{FileAttributes, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::settings::{Login, Server};
use super::{Found, Place, Stat, Step, Trouble};

/// The bits of a file's mode that say what it is, and two of their values. The crate's own questions look at single
/// bits, by which a link is a regular file.
const KIND_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;

/// A connection with a session on it.
pub(super) struct Sftp {
    ssh: Handle<Pinned>,
    session: SftpSession,
    root: String,
    within: Duration,
}

/// Whether the settings can be used at all.
pub(super) fn check(server: &Server) -> Result<(), String> {
    pinned(server)?;
    match &server.login {
        Login::Password(_) => Ok(()),
        Login::Key(text) => private_key(text).map(|_| ()),
    }
}

fn private_key(text: &str) -> Result<PrivateKey, String> {
    decode_secret_key(text, None).map_err(|error| format!("delivery.private_key cannot be read: {error}"))
}

/// The pinned keys. A line of `ssh-keyscan` begins with the host, which says nothing.
fn pinned(server: &Server) -> Result<Vec<PublicKey>, String> {
    let read = |line: &String| {
        let mut words = line.split_whitespace().peekable();
        let is_kind = |word: &&str| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind));
        if words.peek().is_some_and(|word| !is_kind(word)) {
            words.next();
        }
        let key = words.take(2).collect::<Vec<_>>().join(" ");
        PublicKey::from_openssh(&key).map_err(|error| format!("delivery.host_key cannot be read: {error}"))
    };
    server.host_keys.iter().map(read).collect()
}

/// Takes a server only by a key that is pinned, and remembers another that was shown.
struct Pinned {
    keys: Vec<PublicKey>,
    shown: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        let is_known = self.keys.iter().any(|known| known.key_data() == key.key_data());
        if let (false, Ok(mut other)) = (is_known, self.shown.lock()) {
            *other = Some(key.fingerprint(HashAlg::Sha256).to_string());
        }
        Ok(is_known)
    }
}

impl Sftp {
    pub async fn open(server: &Server, root: &str, within: Duration) -> Step<Self> {
        let keys = pinned(server).map_err(|text| Trouble::Wrong("settings", text))?;
        let ssh = in_time(within, connect(server, keys)).await??;
        let ssh = in_time(within, log_in(ssh, server)).await??;
        let session = in_time(within, session(&ssh, within)).await??;
        Ok(Self { ssh, session, root: root.to_owned(), within })
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }
}

/// A step of a connection that did not come to its end in time was not done.
async fn in_time<T>(within: Duration, step: impl Future<Output = T>) -> Step<T> {
    tokio::time::timeout(within, step).await.map_err(|_| Trouble::Away(format!("no answer within {within:?}")))
}

async fn connect(server: &Server, keys: Vec<PublicKey>) -> Step<Handle<Pinned>> {
    let mut config = client::Config { nodelay: true, ..client::Config::default() };
    // Of its several keys the server is to show the one that is pinned.
    let kind = |algorithm: &russh::keys::Algorithm| {
        let name = algorithm.as_str();
        if name.starts_with("rsa-") { "ssh-rsa".to_owned() } else { name.to_owned() }
    };
    let wanted: Vec<String> = keys.iter().map(|key| kind(&key.algorithm())).collect();
    let offered = config.preferred.key.iter().filter(|algorithm| wanted.contains(&kind(algorithm))).cloned();
    config.preferred.key = Cow::Owned(offered.collect());
    let pins: Vec<String> = keys.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
    let shown = Arc::new(Mutex::new(None));
    let handler = Pinned { keys, shown: shown.clone() };
    let connected = client::connect(Arc::new(config), (server.host.as_str(), server.port), handler).await;
    connected.map_err(|error| {
        let other = shown.lock().ok().and_then(|shown| shown.clone());
        match (other, error) {
            (Some(other), _) => Trouble::Wrong(
                "host_key_changed",
                format!(
                    "{} shows the key {other}, and {} is pinned: ask the bank before anything else",
                    server.host,
                    pins.join(" or ")
                ),
            ),
            (None, russh::Error::NoCommonAlgo { .. }) => Trouble::Wrong(
                "host_key_changed",
                format!("{} shows no key of a kind that is pinned ({}): ask the bank", server.host, pins.join(" or ")),
            ),
            (None, error) => Trouble::Away(format!("{}: {error}", server.host)),
        }
    })
}

async fn log_in(mut ssh: Handle<Pinned>, server: &Server) -> Step<Handle<Pinned>> {
    let away = |error: russh::Error| Trouble::Away(format!("{}: {error}", server.host));
    let shown = match &server.login {
        Login::Password(password) => ssh.authenticate_password(&server.user, password).await.map_err(away)?,
        Login::Key(text) => {
            let key = private_key(text).map_err(|text| Trouble::Wrong("settings", text))?;
            let hash = ssh.best_supported_rsa_hash().await.map_err(away)?.flatten();
            let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
            ssh.authenticate_publickey(&server.user, key).await.map_err(away)?
        }
    };
    if shown.success() {
        return Ok(ssh);
    }
    let text = format!("{} does not let {} in: check user and key or password", server.host, server.user);
    Err(Trouble::Wrong("login_refused", text))
}

async fn session(ssh: &Handle<Pinned>, within: Duration) -> Step<SftpSession> {
    let channel = channel(ssh).await?;
    let config = Config { request_timeout_secs: within.as_secs(), ..Config::default() };
    SftpSession::new_with_config(channel.into_stream(), config).await.map_err(|error| Trouble::Away(error.to_string()))
}

async fn channel(ssh: &Handle<Pinned>) -> Step<russh::Channel<client::Msg>> {
    let away = |error: russh::Error| Trouble::Away(format!("no SFTP there: {error}"));
    let channel = ssh.channel_open_session().await.map_err(away)?;
    channel.request_subsystem(true, "sftp").await.map_err(away)?;
    Ok(channel)
}

#[async_trait]
impl Place for Sftp {
    async fn stat(&mut self, path: &str) -> Step<Option<Stat>> {
        match self.session.symlink_metadata(self.at(path)).await {
            Ok(found) => Ok(Some(stat(&found))),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(trouble(path, error)),
        }
    }

    async fn list(&mut self, folder: &str, most: usize) -> Step<Vec<Found>> {
        // The session would list a folder whole, however many names it has.
        let stream = in_time(self.within, channel(&self.ssh)).await??.into_stream();
        let config = Config { request_timeout_secs: self.within.as_secs(), ..Config::default() };
        let raw = RawSftpSession::new_with_config(stream, config);
        let wrong = |error| trouble(folder, error);
        raw.init().await.map_err(wrong)?;
        let handle = raw.opendir(self.at(folder)).await.map_err(wrong)?.handle;
        let mut found = Vec::new();
        while found.len() < most {
            match raw.readdir(handle.as_str()).await {
                Ok(names) if !names.files.is_empty() => {
                    found.extend(
                        names.files.into_iter().map(|file| Found { stat: stat(&file.attrs), name: file.filename }),
                    );
                }
                Ok(_) => break,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(wrong(error)),
            }
        }
        // The server forgets the handle with the channel, if not by this.
        let _ = raw.close(handle).await;
        found.truncate(most);
        Ok(found)
    }

    async fn write(&mut self, path: &str, bytes: &[u8]) -> Step<()> {
        let wrong = |error| trouble(path, error);
        let mut file = self.session.create(self.at(path)).await.map_err(wrong)?;
        file.write_all(bytes).await.map_err(|error| wrong(error.into()))?;
        file.flush().await.map_err(|error| wrong(error.into()))?;
        // Not every server can; the size is looked at in any case.
        let _ = file.sync_all().await;
        file.close().await.map_err(|error| wrong(error.into()))
    }

    async fn rename(&mut self, from: &str, to: &str) -> Step<()> {
        match self.session.rename(self.at(from), self.at(to)).await {
            Ok(()) => Ok(()),
            Err(Error::Status(status)) => {
                let is_taken = self.stat(to).await.is_ok_and(|found| found.is_some());
                Err(if is_taken { Trouble::Exists } else { trouble(to, Error::Status(status)) })
            }
            // It was asked for, and nobody answered.
            Err(error) => Err(Trouble::Unknown(format!("{to}: {error}"))),
        }
    }

    async fn remove(&mut self, path: &str) -> Step<()> {
        self.session.remove_file(self.at(path)).await.map_err(|error| trouble(path, error))
    }

    async fn fetch(&mut self, path: &str, most: u64) -> Step<File> {
        let kept = |error: std::io::Error| Trouble::Away(format!("{path}: {error}"));
        let file = self.session.open(self.at(path)).await.map_err(|error| trouble(path, error))?;
        let mut into = tokio::fs::File::from_std(tempfile::tempfile().map_err(kept)?);
        tokio::io::copy(&mut file.take(most.saturating_add(1)), &mut into).await.map_err(kept)?;
        into.flush().await.map_err(kept)?;
        let mut into = into.into_std().await;
        into.seek(SeekFrom::Start(0)).map_err(kept)?;
        Ok(into)
    }

    async fn make_folder(&mut self, path: &str) -> Step<()> {
        match self.session.create_dir(self.at(path)).await {
            Ok(()) => Ok(()),
            Err(error) => match self.session.symlink_metadata(self.at(path)).await {
                Ok(found) if found.permissions.is_some_and(|mode| mode & KIND_BITS == FOLDER) => Ok(()),
                _ => Err(trouble(path, error)),
            },
        }
    }
}

fn stat(found: &FileAttributes) -> Stat {
    let is_file = found.permissions.is_none_or(|mode| mode & KIND_BITS == REGULAR);
    Stat { bytes: found.size.unwrap_or(0), modified: found.mtime.map(i64::from), is_file }
}

fn trouble(path: &str, error: Error) -> Trouble {
    let path = path.escape_debug();
    match &error {
        Error::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => Trouble::Wrong("folder_missing", format!("{path} does not exist on the server")),
            StatusCode::PermissionDenied => Trouble::Wrong("permission_denied", format!("{path}: {error}")),
            _ => Trouble::Away(format!("{path}: {error}")),
        },
        _ => Trouble::Away(format!("{path}: {error}")),
    }
}

//! The settings of a delivery. Deliberately not here: where secrets come from; they arrive resolved.

use std::fmt;

use serde::Deserialize;

use super::{Delivery, wrong};
use crate::contract::Failure;

/// Where a bank's files go and come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Settings {
    /// A folder, or a server.
    pub kind: Kind,
    /// The root that the other paths are below.
    pub path: String,
    /// Where our files go.
    pub outbox: String,
    /// Where the bank leaves files for us.
    pub collect: Vec<String>,
    /// Where the bank moves what it took, as far as we may look there.
    pub sent: Vec<String>,
    /// Ending of an empty file that is put beside ours once ours is whole.
    pub marker: Option<String>,
    /// Ending of a file without which what it lies beside is not whole.
    pub wants_marker: Option<String>,
    /// What is done with a file of the bank's once it is stored.
    pub collected: Collected,
    /// Most files fetched at once.
    pub files_max: usize,
    /// Longest file that is fetched.
    pub file_bytes_max: u64,
    /// Longest wait for one answer of a server.
    pub timeout_seconds: u64,
}

/// A folder, or a server.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A folder of this machine.
    Folder,
    /// An SFTP server.
    Sftp(Server),
}

/// An SFTP server, and who we are there.
#[derive(Clone)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who we are.
    pub user: String,
    /// Its keys, as OpenSSH writes them; it must show one of them.
    pub host_keys: Vec<String>,
    /// What we show.
    pub login: Login,
}

/// How we show who we are.
#[derive(Clone)]
pub enum Login {
    /// By a password.
    Password(String),
    /// By a private key as OpenSSH writes it.
    Key(String),
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What is done with a file of the bank's once it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collected {
    /// Nothing.
    #[default]
    Leave,
    /// It is removed.
    Delete,
    /// It is moved to this folder.
    Archive(String),
}

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    #[serde(default)]
    path: Option<String>,
    outbox: String,
    collect: Vec<String>,
    #[serde(default)]
    sent: Vec<String>,
    #[serde(default)]
    marker: Option<String>,
    #[serde(default)]
    wants_marker: Option<String>,
    #[serde(default)]
    collected: Collected,
    #[serde(default = "defaults::files_max")]
    files_max: usize,
    #[serde(default = "defaults::file_bytes_max")]
    file_bytes_max: u64,
    #[serde(default = "defaults::timeout_seconds")]
    timeout_seconds: u64,
    #[serde(default)]
    host: Option<String>,
    #[serde(default = "defaults::port")]
    port: u16,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    host_key: Option<OneOrMany>,
    #[serde(default)]
    password: Option<Hidden>,
    #[serde(default)]
    private_key: Option<Hidden>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A secret, never shown.
#[derive(Deserialize)]
#[serde(transparent)]
struct Hidden(String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

mod defaults {
    pub fn files_max() -> usize {
        1_000
    }
    pub fn file_bytes_max() -> u64 {
        4 << 30
    }
    pub fn timeout_seconds() -> u64 {
        30
    }
    pub fn port() -> u16 {
        22
    }
}

impl TryFrom<Written> for Settings {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (kind, path) = match written.kind.as_str() {
            "folder" => (Kind::Folder, written.path.ok_or("delivery.path is missing: the folder of the bank")?),
            "sftp" => {
                let login = match (written.private_key, written.password) {
                    (Some(Hidden(key)), _) => Login::Key(key),
                    (None, Some(Hidden(password))) => Login::Password(password),
                    (None, None) => return Err("delivery needs private_key or password".to_owned()),
                };
                let host_keys = match written.host_key {
                    Some(OneOrMany::One(key)) => vec![key],
                    Some(OneOrMany::Many(keys)) => keys,
                    None => Vec::new(),
                };
                if host_keys.is_empty() {
                    let text =
                        "delivery.host_key is missing: ask the bank for its server's key (ssh-keyscan shows one)";
                    return Err(text.to_owned());
                }
                let server = Server {
                    host: written.host.ok_or("delivery.host is missing")?,
                    port: written.port,
                    user: written.user.ok_or("delivery.user is missing")?,
                    host_keys,
                    login,
                };
                (Kind::Sftp(server), written.path.unwrap_or_else(|| ".".to_owned()))
            }
            other => return Err(format!("delivery.kind is `{other}`; there are `folder` and `sftp`")),
        };
        Ok(Self {
            kind,
            path,
            outbox: written.outbox,
            collect: written.collect,
            sent: written.sent,
            marker: written.marker,
            wants_marker: written.wants_marker,
            collected: written.collected,
            files_max: written.files_max,
            file_bytes_max: written.file_bytes_max,
            timeout_seconds: written.timeout_seconds,
        })
    }
}

impl Settings {
    /// Opens a delivery; nothing is touched yet. Settings that cannot work are `Blocked`.
    pub fn open(&self) -> Result<Delivery, Failure> {
        let archive = match &self.collected {
            Collected::Archive(folder) => Some(folder),
            Collected::Leave | Collected::Delete => None,
        };
        let mut folders = std::iter::once(&self.outbox).chain(&self.collect).chain(&self.sent).chain(archive);
        let below = |folder: &String| !folder.starts_with('/') && !folder.split('/').any(|part| part == "..");
        let ending =
            |marker: &Option<String>| marker.as_deref().is_none_or(|text| text.len() > 1 && text.starts_with('.'));
        let rules = [
            (folders.all(below), "delivery: folders are written below its path, without `..`"),
            (!self.collect.contains(&self.outbox), "delivery.collect must not name the outbox"),
            (
                archive.is_none_or(|folder| !self.collect.contains(folder)),
                "delivery.collected must not archive where it collects",
            ),
            (ending(&self.marker) && ending(&self.wants_marker), "delivery: a marker is an ending such as `.done`"),
            (self.files_max > 0 && self.file_bytes_max > 0, "delivery: files_max and file_bytes_max must be above 0"),
            (self.timeout_seconds > 0, "delivery.timeout_seconds must be at least 1"),
        ];
        if let Some((_, rule)) = rules.iter().find(|(holds, _)| !holds) {
            return Err(wrong("settings", rule));
        }
        if let Kind::Sftp(server) = &self.kind {
            super::sftp::check(server).map_err(|text| wrong("settings", text))?;
        }
        Ok(Delivery::new(self.clone()))
    }
}

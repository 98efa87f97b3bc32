//! The settings of one way to a bank, and what they come to once they are checked.
//! Deliberately not here: where secrets come from; they arrive resolved and are never shown.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::connect::{self, Server};
use super::folder::Folder;
use super::{Delivery, Way};
use crate::contract::{Failure, Reason, ReasonClass};
use crate::secret::Secret;

/// Longest name of a file of ours.
const NAME_BYTES_MAX: usize = 200;
/// Longest suffix of a marker.
const MARKER_BYTES_MAX: usize = 32;
/// Most folders of one kind.
const FOLDERS_MAX: usize = 100;
/// Longest wait for one step that can be set.
const TIMEOUT_SECONDS_MAX: u64 = 3_600;

/// How files travel to one bank and back.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What they travel through.
    pub kind: Kind,
    /// The root: an absolute path here, or a path on the server, where `.` is the folder one logs in to.
    #[serde(default)]
    pub path: Option<String>,
    /// The folder below the root that takes our files.
    pub outbox: String,
    /// The folders below the root where the bank leaves files for us.
    #[serde(default)]
    pub collect: Vec<String>,
    /// The folders below the root where the bank puts what it took, as far as we may look there.
    #[serde(default)]
    pub sent: Vec<String>,
    /// Suffix of an empty file that is written when ours is in place, such as `.done`.
    #[serde(default)]
    pub marker: Option<String>,
    /// What becomes of a file that was fetched.
    #[serde(default)]
    pub collected: Collected,
    /// Only files are fetched that have a file with this suffix beside them, such as `.ok`.
    #[serde(default)]
    pub wants_marker: Option<String>,
    /// Most files handled in one go.
    #[serde(default = "defaults::files_max")]
    pub files_max: u32,
    /// Largest file that is fetched.
    #[serde(default = "defaults::file_bytes_max")]
    pub file_bytes_max: u64,
    /// The server's name or address.
    #[serde(default)]
    pub host: Option<String>,
    /// The server's port, 22 by default.
    #[serde(default)]
    pub port: Option<u16>,
    /// Who we are there.
    #[serde(default)]
    pub user: Option<String>,
    /// The server's own public keys. Whoever shows another is not spoken to.
    #[serde(default)]
    pub host_key: Option<HostKeys>,
    /// Our password there.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Our private key there, as text, without a passphrase.
    #[serde(default)]
    pub private_key: Option<Secret>,
    /// Longest wait for one answer, 30 by default.
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

mod defaults {
    pub fn files_max() -> u32 {
        1_000
    }
    pub fn file_bytes_max() -> u64 {
        4 << 30
    }
    pub const PORT: u16 = 22;
    pub const TIMEOUT_SECONDS: u64 = 30;
}

/// What files travel through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A folder that the bank, or something on its way, reads and writes too.
    Folder,
    /// The bank's SFTP server.
    Sftp,
}

/// What becomes of a file that was fetched and stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collected {
    /// It stays, and is not fetched again.
    #[default]
    Leave,
    /// It is removed.
    Delete,
    /// It is moved to this folder below the root.
    Archive(String),
}

/// One public key or several, each as a line `ssh-ed25519 AAAA…`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum HostKeys {
    /// The only one.
    One(String),
    /// Any of these, such as the one of today and its successor.
    Several(Vec<String>),
}

impl HostKeys {
    /// Every line.
    pub(super) fn lines(&self) -> &[String] {
        match self {
            Self::One(line) => std::slice::from_ref(line),
            Self::Several(lines) => lines,
        }
    }
}

/// What the rules go by: settings that were checked.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub outbox: String,
    pub collect: Vec<String>,
    pub sent: Vec<String>,
    pub marker: Option<String>,
    pub collected: Collected,
    pub wants_marker: Option<String>,
    pub files_max: u32,
    pub file_bytes_max: u64,
}

impl Settings {
    /// Checks the settings. Nothing is opened or reached yet.
    pub fn open(&self) -> Result<Delivery, Failure> {
        let plan = self.plan()?;
        let way = match self.kind {
            Kind::Folder => Way::Folder(self.folder()?),
            Kind::Sftp => Way::Sftp(Box::new(self.server()?)),
        };
        Ok(Delivery { plan, way })
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let plan = Plan {
            outbox: self.outbox.clone(),
            collect: self.collect.clone(),
            sent: self.sent.clone(),
            marker: self.marker.clone(),
            collected: self.collected.clone(),
            wants_marker: self.wants_marker.clone(),
            files_max: self.files_max,
            file_bytes_max: self.file_bytes_max,
        };
        plan.check()?;
        Ok(plan)
    }

    fn folder(&self) -> Result<Folder, Failure> {
        let of_a_server = [
            ("host", self.host.is_some()),
            ("port", self.port.is_some()),
            ("user", self.user.is_some()),
            ("host_key", self.host_key.is_some()),
            ("password", self.password.is_some()),
            ("private_key", self.private_key.is_some()),
            ("timeout_seconds", self.timeout_seconds.is_some()),
        ];
        for (key, is_set) in of_a_server {
            rule(!is_set, || format!("{key} belongs to kind = \"sftp\": leave it out, or change the kind"))?;
        }
        let path = self.path.as_deref().unwrap_or_default();
        rule(Path::new(path).is_absolute(), || "path must be the absolute path of a folder".to_owned())?;
        Ok(Folder::new(path))
    }

    fn server(&self) -> Result<Server, Failure> {
        let needed = |key: &str, value: &Option<String>| match value.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(bad(format!("{key} must be set for kind = \"sftp\""))),
        };
        let keys = self.host_key.as_ref().map(HostKeys::lines).unwrap_or_default();
        rule(!keys.is_empty(), || {
            "host_key must hold the server's public key as the bank gave it, such as `ssh-ed25519 AAAA…`".to_owned()
        })?;
        rule(self.password.is_some() || self.private_key.is_some(), || {
            "set private_key or password, by which the server knows us".to_owned()
        })?;
        let seconds = self.timeout_seconds.unwrap_or(defaults::TIMEOUT_SECONDS);
        rule((1..=TIMEOUT_SECONDS_MAX).contains(&seconds), || "timeout_seconds must be 1 to 3600".to_owned())?;
        let root = self.path.as_deref().unwrap_or(".");
        rule(!root.is_empty() && !root.chars().any(char::is_control), || "path must be a path".to_owned())?;
        Ok(Server {
            host: needed("host", &self.host)?,
            port: self.port.unwrap_or(defaults::PORT),
            user: needed("user", &self.user)?,
            root: root.trim_end_matches('/').to_owned(),
            host_keys: keys.iter().map(|line| connect::host_key(line).map_err(bad)).collect::<Result<_, _>>()?,
            private_key: match &self.private_key {
                Some(text) => Some(connect::private_key(text.reveal()).map_err(bad)?),
                None => None,
            },
            password: self.password.clone(),
            timeout: Duration::from_secs(seconds),
        })
    }
}

impl Plan {
    fn check(&self) -> Result<(), Failure> {
        let archive = match &self.collected {
            Collected::Archive(folder) => Some(folder),
            Collected::Leave | Collected::Delete => None,
        };
        for folder in std::iter::once(&self.outbox).chain(&self.collect).chain(&self.sent).chain(archive) {
            rule(is_folder(folder), || {
                format!("`{}` must name a folder below path, such as `out` or `out/archive`", folder.escape_debug())
            })?;
        }
        rule(self.collect.len().max(self.sent.len()) <= FOLDERS_MAX, || {
            "collect and sent may each name 100 folders".to_owned()
        })?;
        for (place, folder) in self.collect.iter().enumerate() {
            let again = self.collect.iter().take(place).any(|other| other == folder);
            let ours = *folder == self.outbox || Some(folder) == archive || self.sent.contains(folder);
            rule(!again && !ours, || {
                format!("collect may name `{folder}` once, and not as outbox, sent or archive too")
            })?;
        }
        for marker in self.marker.iter().chain(&self.wants_marker) {
            rule(is_plain(marker) && marker.len() <= MARKER_BYTES_MAX, || {
                "a marker must be a suffix of letters, digits, `.`, `_` and `-`, such as `.done`".to_owned()
            })?;
        }
        rule(self.files_max > 0, || "files_max must be at least 1".to_owned())?;
        rule(self.file_bytes_max > 0, || "file_bytes_max must be at least 1".to_owned())
    }
}

/// Refuses a name that some bank, shell or file system could take for something else.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    if is_plain(name) && !name.starts_with('.') && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    let shown: String = name.escape_debug().take(NAME_BYTES_MAX / 2).collect();
    let text = format!("`{shown}` is no name for a file: letters, digits, `.`, `_`, `-`, no dot first, 200 at most");
    Err(Failure::Blocked(Reason::new(ReasonClass::Format, "file_name", text)))
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.bytes().all(plain)
}

/// A path below the root that cannot leave it.
fn is_folder(folder: &str) -> bool {
    let is_step = |step: &str| !matches!(step, "" | "." | "..") && !step.chars().any(char::is_control);
    folder == "." || folder.split('/').all(is_step)
}

fn rule(holds: bool, words: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(bad(words())) }
}

fn bad(text: String) -> Failure {
    Failure::Blocked(Reason::new(ReasonClass::Format, "delivery_settings", text))
}

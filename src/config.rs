//! One TOML file, unknown keys refused, secrets by reference; and the engine that it describes.
//!
//! `deploy/config.example.toml` documents each key and is read by a test. Everything has a default, so that an
//! empty file, or none, is a valid configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use paymaster_connectors::registry::{Registry, SigningKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::engine::{Engine, LeaseTerms, Provider, Route};
use crate::jobs::WorkTerms;
use crate::store::Store;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://…`, or a path to a SQLite file.
    pub database_url: String,
    /// Folder for uploads that are under way and for keys that were made here.
    pub data: PathBuf,
    /// Code of the tenant that command-line verbs act for.
    pub tenant: String,
    /// The payer's financial address in messages to the registry.
    pub payer_account: String,
    /// The HTTP door.
    pub serve: Serve,
    /// The workers.
    pub work: Work,
    /// Whom to tell; nobody when it is left out.
    pub registry: Option<RegistryConfig>,
    /// Whom to send to.
    pub provider: Vec<ProviderConfig>,
}

/// The HTTP door.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Serve {
    /// Address and port to listen at.
    pub listen: String,
    /// How providers reach this process from outside; callback addresses are made of it.
    pub public_url: Option<String>,
    /// Largest payroll file, in bytes.
    pub body_bytes_max: u64,
    /// Whether this process also works; without it, run `paymaster work` beside it.
    pub work: bool,
}

/// The workers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Batches one process drives at once.
    pub batches: usize,
    /// Messages to the registry one process sends at once.
    pub publications: usize,
    /// How often what is due is looked for, in milliseconds.
    pub sweep_millis: u64,
    /// How often the queue is looked at, in milliseconds.
    pub poll_millis: u64,
    /// How long a worker may be silent before its batch is in doubt, in seconds.
    pub lease_seconds: u32,
    /// How much of the lease must be left when a write begins, in seconds.
    pub lease_margin_seconds: u32,
}

/// A registry that is told the outcomes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Full address that takes `on-disburse` messages.
    pub url: String,
    /// Who we are in its messages.
    pub sender_id: String,
    /// Who it is, if it wants to be named.
    pub receiver_id: Option<String>,
    /// Longest wait for an answer.
    #[serde(default = "thirty")]
    pub timeout_seconds: u64,
    /// Our Ed25519 key: base64 of PKCS#8, as `{ file = "…" }` or `{ env = "…" }`. Without it one is made in the
    /// data folder and its public half is logged.
    pub signing_key: Option<Value>,
}

fn thirty() -> u64 {
    30
}

/// A provider to send to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// Its name in payrolls and reports. Keep it for ever: batches are stored under it.
    pub name: String,
    /// Which protocol it speaks.
    pub connector: String,
    /// Payee accounts it pays: `scheme:*@provider` or `*@provider`.
    pub accounts: Vec<String>,
    /// The unguessable part of the address it calls us back at; without it, calls are refused.
    pub callback_secret: Option<Value>,
    /// The connector's own settings; see its README.
    #[serde(default)]
    pub settings: Map<String, Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database_url: String::from("paymaster.db"),
            data: PathBuf::from("paymaster-data"),
            tenant: String::from("default"),
            payer_account: String::from("treasury@paymaster"),
            serve: Serve::default(),
            work: Work::default(),
            registry: None,
            provider: Vec::new(),
        }
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self { listen: String::from("127.0.0.1:8080"), public_url: None, body_bytes_max: 4 << 30, work: true }
    }
}

impl Default for Work {
    fn default() -> Self {
        let terms = WorkTerms::default();
        Self {
            batches: terms.batches,
            publications: terms.publications,
            sweep_millis: 500,
            poll_millis: 100,
            lease_seconds: 120,
            lease_margin_seconds: 45,
        }
    }
}

impl Work {
    /// The terms of the workers.
    pub fn terms(&self) -> Result<WorkTerms> {
        ensure!(self.batches > 0 && self.publications > 0, "work.batches and work.publications must be above 0");
        ensure!(
            self.sweep_millis > 0 && self.poll_millis > 0,
            "work.sweep_millis and work.poll_millis must be above 0"
        );
        Ok(WorkTerms {
            batches: self.batches,
            publications: self.publications,
            sweep: Duration::from_millis(self.sweep_millis),
            poll: Duration::from_millis(self.poll_millis),
        })
    }

    fn lease(&self) -> Result<LeaseTerms> {
        ensure!(
            self.lease_margin_seconds < self.lease_seconds,
            "work.lease_margin_seconds must be below work.lease_seconds"
        );
        Ok(LeaseTerms {
            lease_micros: i64::from(self.lease_seconds) * 1_000_000,
            margin_micros: i64::from(self.lease_margin_seconds) * 1_000_000,
        })
    }
}

impl Config {
    /// Reads a file; the default configuration without one.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Opens the database and everything the engine speaks with.
    pub async fn engine(&self, migrate: bool) -> Result<Arc<Engine>> {
        let store = Store::open(&self.database_url, migrate).await?;
        let mut engine = Engine::new(store, Clock::System);
        engine.payer_account.clone_from(&self.payer_account);
        engine.lease = self.work.lease()?;
        engine.folder = self.data.join("spool");
        for provider in &self.provider {
            ensure!(
                !engine.providers.iter().any(|known| known.name == provider.name),
                "two providers are named {}",
                provider.name
            );
            engine.providers.push(
                provider
                    .open(self.serve.public_url.as_deref())
                    .with_context(|| format!("provider {}", provider.name))?,
            );
        }
        if let Some(registry) = &self.registry {
            engine.registry = Some(registry.open(&self.data).context("registry")?);
        }
        if migrate {
            engine.notice_restore().await?;
        }
        Ok(Arc::new(engine))
    }
}

impl ProviderConfig {
    fn open(&self, public_url: Option<&str>) -> Result<Provider> {
        let routes: Result<Vec<Route>> = self
            .accounts
            .iter()
            .map(|text| {
                Route::parse(text).with_context(|| format!("accounts are written scheme:*@provider, not {text}"))
            })
            .collect();
        let callback_secret = self.callback_secret.clone().map(secret).transpose()?;
        let mut settings = self.settings.clone();
        if let (Some(url), Some(secret), false) = (public_url, &callback_secret, settings.contains_key("callback_url"))
        {
            let url = format!("{}/callbacks/{}/{secret}", url.trim_end_matches('/'), self.name);
            settings.insert(String::from("callback_url"), Value::String(url));
        }
        let settings = resolve(Value::Object(settings))?;
        Ok(Provider {
            name: self.name.clone(),
            routes: routes?,
            connector: paymaster_connectors::open(&self.connector, &self.name, settings)?,
            callback_secret,
        })
    }
}

/// File of the registry key that is made where none is configured.
const SIGNING_KEY_FILE: &str = "registry-signing.key";

impl RegistryConfig {
    fn open(&self, data: &Path) -> Result<Registry> {
        use base64::Engine as _;
        let text = match &self.signing_key {
            Some(key) => secret(key.clone())?,
            None => made_key(data)?,
        };
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(text.trim()).context("the signing key is not base64")?;
        let key = SigningKey::from_pkcs8(&bytes, None)?;
        tracing::info!(registry.jwk = %key.public_key().jwk(), "messages to the registry are signed with this key");
        let settings = serde_json::json!({
            "url": self.url, "sender_id": self.sender_id, "receiver_id": self.receiver_id, "timeout_seconds": self.timeout_seconds,
        });
        Ok(Registry::open(serde_json::from_value(settings)?, key)?)
    }
}

fn made_key(data: &Path) -> Result<String> {
    use base64::Engine as _;
    let path = data.join(SIGNING_KEY_FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text);
    }
    std::fs::create_dir_all(data)?;
    let text = base64::engine::general_purpose::STANDARD.encode(SigningKey::generate()?);
    write_private(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(text)
}

/// Writes a new file that only its owner can read.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, bytes)
}

/// A secret by reference; a plain string is refused, so that no secret ends in the file by habit.
fn secret(value: Value) -> Result<String> {
    match resolve(value.clone())? {
        Value::String(text) if value.is_object() => Ok(text),
        _ => bail!("a secret is written {{ env = \"NAME\" }} or {{ file = \"path\" }}"),
    }
}

/// Replaces each `{ env = "NAME" }` and `{ file = "path" }` by what it refers to.
fn resolve(value: Value) -> Result<Value> {
    match value {
        Value::Object(map) if map.len() == 1 => {
            if let Some(Value::String(name)) = map.get("env") {
                let text = std::env::var(name).with_context(|| format!("the environment has no {name}"))?;
                return Ok(Value::String(text));
            }
            if let Some(Value::String(path)) = map.get("file") {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
                return Ok(Value::String(text.trim_end().to_owned()));
            }
            resolve_all(map)
        }
        Value::Object(map) => resolve_all(map),
        other => Ok(other),
    }
}

fn resolve_all(map: Map<String, Value>) -> Result<Value> {
    let resolved: Result<Map<String, Value>> = map.into_iter().map(|(key, value)| Ok((key, resolve(value)?))).collect();
    Ok(Value::Object(resolved?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_a_configuration_and_an_unknown_key_is_not() {
        assert_eq!(Config::parse("").unwrap().serve.listen, "127.0.0.1:8080");
        for text in ["databse_url = 'x'", "[serve]\nport = 1", "[work]\nlease = 1", "[[provider]]\nname = 'x'"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_example_is_read_whole() {
        let config = Config::parse(include_str!("../deploy/config.example.toml")).unwrap();
        assert_eq!(config.provider[0].connector, "mobile_money");
        assert!(config.registry.is_some());
    }

    #[test]
    fn secrets_come_by_reference_only() {
        assert!(secret(Value::String(String::from("hunter2"))).is_err());
        let found = resolve(serde_json::json!({"api_key": {"env": "PATH"}, "n": 1})).unwrap();
        assert_eq!(found["api_key"], std::env::var("PATH").unwrap());
        assert!(resolve(serde_json::json!({"a": {"file": "/does/not/exist"}})).is_err());
    }
}

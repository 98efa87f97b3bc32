//! Tests of delivery: the same for a folder and for a real SFTP server, wherever both can be asked the same.

mod collecting;
mod faults;
mod putting;
mod server;
mod settings;

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Delivery, Kind, Settings};
use crate::contract::{Failure, Gate, Inbox, Listed, Reason};
use crate::sandbox::sshd::Sshd;

const KINDS: [Kind; 2] = [Kind::Folder, Kind::Sftp];

/// A bank that can be reached by one kind, with the folders `in`, `in/done` and `out`.
struct Bank {
    root: tempfile::TempDir,
    sshd: Option<Sshd>,
}

impl Bank {
    fn new(kind: Kind) -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["in/done", "out"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let sshd = (kind == Kind::Sftp).then(|| Sshd::start(root.path()).unwrap());
        Self { root, sshd }
    }

    /// Settings with some keys set otherwise.
    fn settings(&self, other: Value) -> Value {
        let mut settings = match &self.sshd {
            Some(sshd) => of_server(sshd),
            None => json!({"kind": "folder", "path": self.root.path()}),
        };
        settings["outbox"] = json!("in");
        settings["collect"] = json!(["out"]);
        for (key, value) in other.as_object().unwrap() {
            settings[key] = value.clone();
        }
        settings
    }

    fn delivery(&self, other: Value) -> Delivery {
        open(self.settings(other)).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(path), content).unwrap();
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// Names of the files in a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| !entry.file_type().unwrap().is_dir());
        let mut names: Vec<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

fn of_server(sshd: &Sshd) -> Value {
    json!({
        "kind": "sftp", "host": "127.0.0.1", "port": sshd.port, "user": sshd.user,
        "host_key": sshd.host_key, "private_key": sshd.private_key,
    })
}

fn open(settings: Value) -> Result<Delivery, Failure> {
    serde_json::from_value::<Settings>(settings).unwrap().open()
}

/// The code of a failure with its kind in front.
fn told(result: Result<(), Failure>) -> String {
    let (kind, reason) = match result {
        Ok(()) => return "ok".to_owned(),
        Err(Failure::Refused(reason)) => ("refused", reason),
        Err(Failure::Blocked(reason)) => ("blocked", reason),
        Err(Failure::Unavailable { reason, .. }) => ("unavailable", reason),
        Err(Failure::InDoubt(reason)) => ("in doubt", reason),
    };
    format!("{kind} {}", reason.code)
}

/// Lets everything through, counts, and does something at the n-th question.
struct Watched<F: Fn(u32) -> Result<(), Failure> + Send + Sync> {
    passed: AtomicU32,
    then: F,
}

impl<F: Fn(u32) -> Result<(), Failure> + Send + Sync> Watched<F> {
    fn new(then: F) -> Self {
        Self { passed: AtomicU32::new(0), then }
    }

    fn passed(&self) -> u32 {
        self.passed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl<F: Fn(u32) -> Result<(), Failure> + Send + Sync> Gate for Watched<F> {
    async fn pass(&self, items: u32) -> Result<(), Failure> {
        assert_eq!(items, 7);
        (self.then)(self.passed.fetch_add(1, Ordering::SeqCst) + 1)
    }
}

/// A gate that is open.
fn gate() -> Watched<impl Fn(u32) -> Result<(), Failure> + Send + Sync> {
    Watched::new(|_| Ok(()))
}

/// A gate that shuts at the n-th question.
fn shuts_at(at: u32) -> Watched<impl Fn(u32) -> Result<(), Failure> + Send + Sync> {
    Watched::new(move |asked| {
        if asked < at { Ok(()) } else { Err(Failure::Blocked(Reason::unknown("paused", "somebody paused it"))) }
    })
}

async fn put(delivery: &Delivery, name: &str, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    delivery.put(name, content.as_ref(), 7, &gate()).await
}

/// Called with the name of a file.
type Hook = Box<dyn Fn(&str) + Send + Sync>;

/// Keeps what it is given, and does something at each question.
#[derive(Default)]
struct Kept {
    files: Vec<(Listed, Vec<u8>)>,
    /// Called with each name before it is fetched.
    asked: Option<Hook>,
    /// Called with each name once it was taken.
    taken: Option<Hook>,
    full: bool,
}

impl Kept {
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.files.iter().map(|(listed, _)| listed.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

#[async_trait]
impl Inbox for Kept {
    async fn has(&mut self, listed: &Listed) -> anyhow::Result<bool> {
        if let Some(asked) = &self.asked {
            asked(&listed.name);
        }
        Ok(self.files.iter().any(|(taken, _)| taken == listed))
    }

    async fn take(&mut self, listed: &Listed, mut file: Box<dyn Read + Send>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.full, "the inbox is full");
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        self.files.push((listed.clone(), content));
        if let Some(taken) = &self.taken {
            taken(&listed.name);
        }
        Ok(())
    }
}

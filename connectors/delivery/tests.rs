//! The rules of a delivery, the same for a folder and for a real sshd before it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Delivery, Settings, Sight};
use crate::contract::{Failure, Gate, Inbox, Listed, Reason, ReasonClass};
use crate::sandbox::sshd::Sshd;

/// A folder that goes with its test, and perhaps a server before it.
struct Place {
    root: PathBuf,
    sshd: Option<Sshd>,
}

impl Place {
    fn new(over: Over) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("paymaster-delivery-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let root = std::env::temp_dir().join(name);
        for below in ["bank/in/done", "bank/out"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        let sshd = (over == Over::Sftp).then(|| Sshd::start(&root.join("bank"), &root.join("keys")).unwrap());
        Self { root, sshd }
    }

    fn settings(&self, over: Value) -> Value {
        let mut settings = match &self.sshd {
            Some(sshd) => sshd.delivery(),
            None => json!({"kind": "folder", "path": self.root.join("bank")}),
        };
        let usual = json!({"outbox": "in", "collect": ["out"], "sent": ["in/done"], "timeout_seconds": 5});
        for (key, value) in usual.as_object().unwrap().iter().chain(over.as_object().unwrap()) {
            settings[key] = value.clone();
        }
        settings
    }

    fn delivery(&self, over: Value) -> Delivery {
        open(self.settings(over)).unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.join("bank").join(below)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<String> = entries
            .filter(|entry| !entry.file_type().unwrap().is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn leave(&self, name: &str, content: &str) {
        fs::write(self.path("out").join(name), content).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn open(settings: Value) -> Result<Delivery, Failure> {
    serde_json::from_value::<Settings>(settings).unwrap().open()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Folder,
    Sftp,
}

/// Runs a test for both.
macro_rules! over_both {
    ($(async fn $name:ident($over:ident) $body:block)*) => { $(
        mod $name {
            use super::*;
            async fn body($over: Over) $body
            #[tokio::test]
            async fn folder() {
                body(Over::Folder).await;
            }
            #[tokio::test]
            async fn sftp() {
                body(Over::Sftp).await;
            }
        }
    )* };
}

/// Lets so many writes pass.
struct Passes(Mutex<u32>);

impl Passes {
    fn all() -> Self {
        Self(Mutex::new(u32::MAX))
    }
}

#[async_trait]
impl Gate for Passes {
    async fn pass(&self, _: u32) -> Result<(), Failure> {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            let reason = Reason::new(ReasonClass::NotExecuted, "lease", "");
            return Err(Failure::Unavailable { reason, retry_after_seconds: None });
        }
        *left -= 1;
        Ok(())
    }
}

/// Remembers files by what stands in them.
#[derive(Default)]
struct Kept {
    listed: Vec<Listed>,
    texts: BTreeMap<String, String>,
    refuses: bool,
}

#[async_trait]
impl Inbox for Kept {
    async fn has(&mut self, listed: &Listed) -> anyhow::Result<bool> {
        Ok(self.listed.contains(listed))
    }
    async fn take(&mut self, listed: &Listed, mut file: Box<dyn Read + Send>) -> anyhow::Result<()> {
        anyhow::ensure!(!self.refuses, "no room");
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        self.listed.push(listed.clone());
        self.texts.insert(listed.name.clone(), text);
        Ok(())
    }
}

fn code(failure: &Failure) -> (&'static str, &str) {
    match failure {
        Failure::Refused(reason) => ("refused", &reason.code),
        Failure::Blocked(reason) => ("blocked", &reason.code),
        Failure::Unavailable { reason, .. } => ("unavailable", &reason.code),
        Failure::InDoubt(reason) => ("in_doubt", &reason.code),
    }
}

over_both! {
    async fn a_file_is_put_once_under_its_name_and_seen_wherever_the_bank_keeps_it(over) {
        let place = Place::new(over);
        let delivery = place.delivery(json!({"marker": ".done"}));
        assert_eq!(delivery.look("a.xml", 5).await.unwrap(), Sight::Nothing);
        delivery.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap();
        assert_eq!(place.names("in"), ["a.xml", "a.xml.done"]);
        assert_eq!(fs::read(place.path("in/a.xml")).unwrap(), b"hello");
        assert_eq!(delivery.look("a.xml", 5).await.unwrap(), Sight::There);
        fs::rename(place.path("in/a.xml"), place.path("in/done/a.xml")).unwrap();
        assert_eq!(delivery.look("a.xml", 5).await.unwrap(), Sight::There);
        // Put again it is only looked for: the gate would let nothing pass.
        delivery.put("a.xml", b"hello", 1, &Passes(Mutex::new(0))).await.unwrap();
        assert_eq!(place.names("in"), ["a.xml.done"]);
    }

    async fn what_has_the_name_is_never_written_over(over) {
        let place = Place::new(over);
        fs::write(place.path("in/a.xml"), "somebody else's").unwrap();
        let failure = place.delivery(json!({})).put("a.xml", b"hello", 1, &Passes::all()).await.unwrap_err();
        assert_eq!(code(&failure), ("in_doubt", "other_size"));
        assert_eq!(fs::read_to_string(place.path("in/a.xml")).unwrap(), "somebody else's");
        assert_eq!(place.names("in"), ["a.xml"]);
    }

    async fn until_the_rename_nothing_is_delivered(over) {
        let place = Place::new(over);
        let delivery = place.delivery(json!({}));
        let failure = delivery.put("a.xml", b"hello", 1, &Passes(Mutex::new(1))).await.unwrap_err();
        assert_eq!(code(&failure), ("unavailable", "lease"));
        assert_eq!(place.names("in"), [".a.xml.part"]);
        assert_eq!(delivery.look("a.xml", 5).await.unwrap(), Sight::OnlyPart);
        delivery.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap();
        assert_eq!(place.names("in"), ["a.xml"], "what was left of the first try is gone");
    }

    async fn a_folder_that_is_missing_and_a_name_that_leaves_it_stop_the_bank(over) {
        let place = Place::new(over);
        let missing = place.delivery(json!({"outbox": "nowhere"}));
        let failure = missing.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap_err();
        assert_eq!(code(&failure), ("blocked", "folder_missing"));
        for name in ["../a.xml", "a b.xml", ".a", "a/b", ""] {
            let failure = place.delivery(json!({})).put(name, b"hello", 1, &Passes::all()).await.unwrap_err();
            assert_eq!(code(&failure), ("blocked", "file_name"), "{name}");
        }
        for folder in ["../out", "/etc", "a/../../b"] {
            assert!(open(place.settings(json!({"outbox": folder}))).is_err(), "{folder}");
        }
    }

    async fn only_whole_files_with_plain_names_are_collected(over) {
        let place = Place::new(over);
        place.leave("good.xml", "<a/>");
        place.leave("second.xml", "<b/>");
        place.leave("empty.xml", "");
        for unfinished in [".hidden.xml", "x.xml.part", "x.tmp", "x.filepart", "new\nline.xml"] {
            place.leave(unfinished, "x");
        }
        fs::create_dir(place.path("out/folder.xml")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path("out/link.xml")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(place.path("out/pipe.xml")).status().unwrap().success());
        let mut kept = Kept::default();
        place.delivery(json!({})).collect(&mut kept).await.unwrap();
        let texts: Vec<(&str, &str)> = kept.texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(texts, [("good.xml", "<a/>"), ("second.xml", "<b/>")]);
        // Left where they are, and not fetched again.
        kept.texts.clear();
        place.delivery(json!({})).collect(&mut kept).await.unwrap();
        assert!(kept.texts.is_empty());
        assert!(place.names("out").contains(&"good.xml".to_owned()));
    }

    async fn what_was_stored_is_archived_and_nothing_there_is_written_over(over) {
        let place = Place::new(over);
        let delivery = place.delivery(json!({"collected": {"archive": "out/taken"}}));
        let mut kept = Kept::default();
        for text in ["first", "second", "third"] {
            place.leave("statement.xml", text);
            delivery.collect(&mut kept).await.unwrap();
        }
        assert_eq!(place.names("out/taken"), ["statement.xml", "statement.xml.1", "statement.xml.2"]);
        assert_eq!(fs::read_to_string(place.path("out/taken/statement.xml")).unwrap(), "first");
        place.leave("other.xml", "x");
        let mut full = Kept { refuses: true, ..Kept::default() };
        let failure = delivery.collect(&mut full).await.unwrap_err();
        assert_eq!(code(&failure), ("unavailable", "not_stored"));
        assert_eq!(place.names("out"), ["other.xml"], "what was not stored stays");
        let deletes = place.delivery(json!({"collected": "delete"}));
        deletes.collect(&mut kept).await.unwrap();
        assert!(place.names("out").is_empty());
        assert_eq!(kept.texts["other.xml"], "x");
    }

    async fn a_file_waits_for_its_marker_and_many_files_for_their_turn(over) {
        let place = Place::new(over);
        place.leave("a.xml", "a");
        let delivery = place.delivery(json!({"wants_marker": ".ok"}));
        let mut kept = Kept::default();
        delivery.collect(&mut kept).await.unwrap();
        assert!(kept.texts.is_empty());
        place.leave("a.xml.ok", "");
        delivery.collect(&mut kept).await.unwrap();
        assert_eq!(kept.texts.len(), 1);
        for number in 0..700 {
            place.leave(&format!("b{number:04}.xml"), "b");
        }
        let some = place.delivery(json!({"files_max": 300, "collected": "delete"}));
        for left in [402, 102, 0] {
            some.collect(&mut Kept::default()).await.unwrap();
            assert_eq!(place.names("out").iter().filter(|name| name.ends_with(".xml")).count(), left.max(1) - 1);
        }
    }
}

#[tokio::test]
async fn a_server_with_another_key_is_not_spoken_with_and_both_keys_are_named() {
    let (place, other) = (Place::new(Over::Sftp), Place::new(Over::Sftp));
    let pinned = other.sshd.as_ref().unwrap().host_key.clone();
    let delivery = place.delivery(json!({"host_key": pinned}));
    let failure = delivery.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap_err();
    assert_eq!(code(&failure), ("blocked", "host_key_changed"));
    assert_eq!(failure.to_string().matches("SHA256:").count(), 2, "{failure}");
    assert!(place.names("in").is_empty());
    let both = place.delivery(json!({"host_key": [pinned, place.sshd.as_ref().unwrap().host_key]}));
    both.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_key_and_a_server_that_is_away_are_told_apart() {
    let (place, other) = (Place::new(Over::Sftp), Place::new(Over::Sftp));
    let stranger = place.delivery(json!({"private_key": other.sshd.as_ref().unwrap().private_key}));
    let failure = stranger.look("a.xml", 5).await.unwrap_err();
    assert_eq!(code(&failure), ("blocked", "login_refused"));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let away = place.delivery(json!({"port": free}));
    let failure = away.put("a.xml", b"hello", 1, &Passes::all()).await.unwrap_err();
    assert_eq!(code(&failure), ("unavailable", "delivery"));
    for (key, value) in [("host_key", json!("ssh-ed25519 nonsense")), ("private_key", json!("nonsense"))] {
        let failure = open(place.settings(json!({key: value}))).err().unwrap();
        assert_eq!(code(&failure), ("blocked", "settings"));
    }
}

/// Carries bytes to a server and back until told to carry none back any more.
async fn proxy(port: u16, deaf: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            let deaf = deaf.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                    if *deaf.borrow() || to_client.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    own
}

/// Makes the proxy deaf right before the rename.
struct DeafAtRename(Mutex<u32>, watch::Sender<bool>);

#[async_trait]
impl Gate for DeafAtRename {
    async fn pass(&self, _: u32) -> Result<(), Failure> {
        let mut asked = self.0.lock().unwrap();
        *asked += 1;
        if *asked == 2 {
            self.1.send_replace(true);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_after_the_rename_is_in_doubt_and_looking_tells() {
    let place = Place::new(Over::Sftp);
    let (tell, deaf) = watch::channel(false);
    let port = proxy(place.sshd.as_ref().unwrap().port, deaf).await;
    let delivery = place.delivery(json!({"port": port, "timeout_seconds": 2}));
    let failure = delivery.put("a.xml", b"hello", 1, &DeafAtRename(Mutex::new(0), tell)).await.unwrap_err();
    assert_eq!(code(&failure), ("in_doubt", "rename_unanswered"));
    assert_eq!(place.names("in"), ["a.xml"], "it was done all the same");
    assert_eq!(place.delivery(json!({})).look("a.xml", 5).await.unwrap(), Sight::There);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_fetched_is_left_for_the_next_time() {
    struct Changing<'a>(&'a Path, Kept);
    #[async_trait]
    impl Inbox for Changing<'_> {
        async fn has(&mut self, listed: &Listed) -> anyhow::Result<bool> {
            // Between listing and fetching, as a bank that still writes.
            fs::write(self.0, format!("{} and more", fs::read_to_string(self.0)?))?;
            self.1.has(listed).await
        }
        async fn take(&mut self, listed: &Listed, file: Box<dyn Read + Send>) -> anyhow::Result<()> {
            self.1.take(listed, file).await
        }
    }
    let place = Place::new(Over::Folder);
    place.leave("a.xml", "begun");
    let path = place.path("out/a.xml");
    let mut inbox = Changing(&path, Kept::default());
    place.delivery(json!({"collected": "delete"})).collect(&mut inbox).await.unwrap();
    assert!(inbox.1.texts.is_empty());
    assert!(path.exists());
    let mut kept = Kept::default();
    place.delivery(json!({"collected": "delete"})).collect(&mut kept).await.unwrap();
    assert_eq!(kept.texts["a.xml"], "begun and more");
}

#[tokio::test]
async fn a_time_in_the_future_does_not_keep_a_file_back() {
    let place = Place::new(Over::Folder);
    place.leave("a.xml", "x");
    let file = fs::File::options().write(true).open(place.path("out/a.xml")).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the bank's clock is wrong, not ours")]
    let later = SystemTime::now() + Duration::from_secs(400 * 24 * 3600);
    file.set_modified(later).unwrap();
    let mut kept = Kept::default();
    place.delivery(json!({})).collect(&mut kept).await.unwrap();
    assert_eq!(kept.texts["a.xml"], "x");
}

#[tokio::test]
async fn a_disk_that_is_full_delivers_nothing_and_is_no_doubt() {
    let place = Place::new(Over::Folder);
    // A folder in the way of the temporary name stands for whatever keeps a file from being written.
    fs::create_dir(place.path("in/.a.xml.part")).unwrap();
    let failure = place.delivery(json!({})).put("a.xml", b"hello", 1, &Passes::all()).await.unwrap_err();
    assert_eq!(code(&failure).0, "unavailable", "{failure}");
    assert!(place.names("in").is_empty());
}

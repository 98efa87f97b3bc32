//! What only a server can do to us: be somebody else, not let us in, refuse, say nothing, or go away at the worst
//! moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::Sight;
use super::{Bank, Kept, Kind, Watched, of_server, open, put, shuts_at, told};
use crate::contract::Failure;
use crate::sandbox::sshd::Sshd;

/// A key of another kind than the one that the servers here have.
const ECDSA: &str = "ecdsa-sha2-nistp256 \
    AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNg4UA0Oe55+40DveaEssPHVnCjl+7gvGNUomf2tHXNPk4qXqSh7K4dxjs1v53Ry7thH+PlRO7AUV6jH4JGZOEE=";

/// Passes bytes on until it is told to be deaf: then it ends the connection in place of the server's next answer.
struct Proxy {
    port: u16,
    deaf: Arc<AtomicBool>,
}

impl Proxy {
    async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), deaf: Arc::default() };
        let deaf = Arc::clone(&proxy.deaf);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(carry(client, server, Arc::clone(&deaf)));
            }
        });
        proxy
    }

    fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, deaf: Arc<AtomicBool>) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            Ok(count @ 1..) = client.read(&mut up) => server.write_all(&up[..count]).await.unwrap(),
            Ok(count @ 1..) = server.read(&mut down) => {
                if deaf.load(Ordering::SeqCst) {
                    return;
                }
                client.write_all(&down[..count]).await.unwrap();
            }
            else => return,
        }
    }
}

/// A bank with a server, and settings for it.
fn bank(other: Value) -> (Bank, Value) {
    let bank = Bank::new(Kind::Sftp);
    let settings = bank.settings(other);
    (bank, settings)
}

#[tokio::test]
async fn an_answer_lost_after_the_rename_leaves_a_doubt_that_looking_resolves() {
    let (bank, settings) = bank(json!({}));
    let proxy = Proxy::before(settings["port"].as_u64().unwrap().try_into().unwrap()).await;
    let delivery = bank.delivery(json!({"port": proxy.port}));
    let gate = Watched::new(|asked| {
        proxy.set_deaf(asked == 2);
        Ok(())
    });
    assert_eq!(told(delivery.put("P1.xml", b"pay 100", 7, &gate).await), "in doubt connection_lost");
    assert_eq!(bank.names("in"), ["P1.xml"]);
    proxy.set_deaf(false);
    assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::There));
    let shut = shuts_at(1);
    assert_eq!(delivery.put("P1.xml", b"pay 100", 7, &shut).await, Ok(()));
    assert_eq!(shut.passed(), 0);
}

#[tokio::test]
async fn a_connection_lost_in_the_upload_leaves_no_doubt() {
    let (bank, settings) = bank(json!({}));
    let proxy = Proxy::before(settings["port"].as_u64().unwrap().try_into().unwrap()).await;
    let delivery = bank.delivery(json!({"port": proxy.port}));
    let gate = Watched::new(|_| {
        proxy.set_deaf(true);
        Ok(())
    });
    let content = vec![b'x'; 1_000_000];
    assert_eq!(told(delivery.put("P1.xml", &content, 7, &gate).await), "unavailable connection_lost");
    assert_eq!(gate.passed(), 1);
    assert_eq!(bank.read("in/P1.xml"), None);
    proxy.set_deaf(false);
    put(&delivery, "P1.xml", &content).await.unwrap();
    assert!(bank.read("in/P1.xml").as_deref() == Some(&content));
}

#[tokio::test]
async fn a_server_with_another_key_is_not_spoken_to() {
    let (bank, settings) = bank(json!({}));
    let other = Sshd::start(bank.root.path()).unwrap();
    let delivery = bank.delivery(json!({"host_key": other.host_key}));
    let failure = put(&delivery, "P1.xml", "pay 100").await.unwrap_err();
    let Failure::Blocked(reason) = failure else { panic!("{failure}") };
    assert_eq!(reason.code, "host_key_changed");
    assert_eq!(reason.text.matches("SHA256:").count(), 2, "{}", reason.text);
    // Of another kind than the one that is pinned.
    let delivery = bank.delivery(json!({"host_key": ECDSA}));
    assert_eq!(told(delivery.look("P1.xml", 7).await.map(drop)), "blocked host_key_changed");
    // One of several is enough, which is how a bank changes its key.
    let both = bank.delivery(json!({"host_key": [ECDSA, other.host_key, settings["host_key"]]}));
    assert_eq!(put(&both, "P1.xml", "pay 100").await, Ok(()));
    assert_eq!(bank.names("in"), ["P1.xml"]);
}

#[tokio::test]
async fn keys_of_the_older_kind_are_spoken_too() {
    let (bank, _) = bank(json!({}));
    let sshd = Sshd::start_rsa(bank.root.path()).unwrap();
    let mut settings = of_server(&sshd);
    settings["outbox"] = json!("in");
    assert!(sshd.host_key.starts_with("ssh-rsa "));
    assert_eq!(put(&open(settings).unwrap(), "P1.xml", "pay 100").await, Ok(()));
    assert_eq!(bank.names("in"), ["P1.xml"]);
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_blocks() {
    let (bank, _) = bank(json!({}));
    let other = Sshd::start(bank.root.path()).unwrap();
    let delivery = bank.delivery(json!({"private_key": other.private_key}));
    assert_eq!(told(put(&delivery, "P1.xml", "pay 100").await), "blocked auth_refused");
    let mut settings = bank.settings(json!({"password": "wrong"}));
    settings.as_object_mut().unwrap().remove("private_key");
    assert_eq!(told(put(&open(settings).unwrap(), "P1.xml", "pay 100").await), "blocked auth_refused");
    assert_eq!(told(delivery.collect(&mut Kept::default()).await), "blocked auth_refused");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable() {
    let (bank, _) = bank(json!({}));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It takes the connection and never says a word.
    let silent = bank.delivery(json!({"port": port, "timeout_seconds": 1}));
    assert_eq!(told(put(&silent, "P1.xml", "pay 100").await), "unavailable timed_out");
    drop(listener);
    let refusing = bank.delivery(json!({"port": port}));
    assert_eq!(told(put(&refusing, "P1.xml", "pay 100").await), "unavailable not_connected");
    assert_eq!(told(refusing.collect(&mut Kept::default()).await), "unavailable not_connected");
}

#[tokio::test]
async fn a_server_where_we_may_not_write_blocks() {
    let (bank, _) = bank(json!({}));
    let sshd = Sshd::start_read_only(bank.root.path()).unwrap();
    let mut settings = of_server(&sshd);
    settings["outbox"] = json!("in");
    settings["collect"] = json!(["out"]);
    settings["collected"] = json!("delete");
    let delivery = open(settings).unwrap();
    assert_eq!(told(put(&delivery, "P1.xml", "pay 100").await), "blocked permission_denied");
    assert_eq!(bank.names("in"), [""; 0]);
    // What is stored and cannot be removed is stored all the same, and told.
    bank.write("out/a", "one");
    let mut kept = Kept::default();
    assert_eq!(told(delivery.collect(&mut kept).await), "blocked permission_denied");
    assert_eq!((kept.names(), bank.names("out")), (vec!["a"], vec!["a".to_owned()]));
}

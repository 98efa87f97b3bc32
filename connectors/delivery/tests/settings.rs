//! Settings that cannot work are refused in words that say what to do.

use serde_json::{Value, json};

use super::super::{Collected, Settings};
use super::{open, told};
use crate::contract::Failure;

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA4qpkMsRh9mTY5JkEpc24e5rMqI1HyR3FP0KKRIn/R+ bank";

fn with(base: &Value, key: &str, value: Value) -> Value {
    let mut settings = base.clone();
    settings[key] = value;
    settings
}

/// What is said about settings that are refused.
fn words(settings: Value) -> String {
    match open(settings) {
        Err(Failure::Blocked(reason)) => reason.text,
        other => panic!("{other:?}"),
    }
}

fn server() -> Value {
    json!({
        "kind": "sftp", "outbox": "in", "host": "sftp.bank.example", "user": "us", "password": "s3cret",
        "host_key": HOST_KEY,
    })
}

#[test]
fn good_settings_are_taken() {
    let folder = json!({"kind": "folder", "path": "/data/bank", "outbox": "."});
    assert!(open(folder.clone()).is_ok());
    assert!(open(server()).is_ok());
    assert!(open(with(&server(), "host_key", json!([HOST_KEY, HOST_KEY]))).is_ok());
    let parsed =
        |value: Value| serde_json::from_value::<Settings>(with(&folder, "collected", value)).unwrap().collected;
    assert_eq!(parsed(json!("leave")), Collected::Leave);
    assert_eq!(parsed(json!("delete")), Collected::Delete);
    assert_eq!(parsed(json!({"archive": "old"})), Collected::Archive("old".to_owned()));
}

#[test]
fn what_cannot_work_is_refused_with_the_setting_that_is_wrong() {
    let folder = json!({"kind": "folder", "path": "/data/bank", "outbox": "in"});
    for outside in ["", "/etc", "..", "in/../../etc", "in/", "a//b", "./in", "in\n"] {
        let text = words(with(&folder, "outbox", json!(outside)));
        assert!(text.contains("below path"), "{outside:?}: {text}");
    }
    let cases = [
        (with(&folder, "path", json!("data")), "path"),
        (with(&folder, "password", json!("x")), "password"),
        (with(&folder, "collect", json!(["in"])), "outbox"),
        (with(&folder, "collect", json!(["out", "out"])), "once"),
        (with(&with(&folder, "collect", json!(["out"])), "collected", json!({"archive": "out"})), "archive"),
        (with(&folder, "marker", json!("/../x")), "marker"),
        (with(&folder, "files_max", json!(0)), "files_max"),
        (with(&server(), "host_key", Value::Null), "host_key"),
        (with(&server(), "host_key", json!([])), "host_key"),
        (with(&server(), "host_key", json!("ssh-ed25519 AAAA")), "host_key"),
        (with(&server(), "host", json!(" ")), "host"),
        (with(&server(), "user", Value::Null), "user"),
        (with(&server(), "password", Value::Null), "private_key"),
        (with(&server(), "private_key", json!("no key")), "private_key"),
        (with(&server(), "timeout_seconds", json!(0)), "timeout_seconds"),
    ];
    for (settings, word) in cases {
        let text = words(settings.clone());
        assert!(text.contains(word), "{settings}: {text}");
    }
    assert!(serde_json::from_value::<Settings>(with(&folder, "outbx", json!("in"))).is_err());
}

#[test]
fn secrets_are_not_shown() {
    let settings: Settings = serde_json::from_value(server()).unwrap();
    let shown = format!("{settings:?} {:?}", settings.open().unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_delivery_without_folders_to_collect_reaches_nobody() {
    let delivery = open(server()).unwrap();
    assert_eq!(told(delivery.collect(&mut super::Kept::default()).await), "ok");
}

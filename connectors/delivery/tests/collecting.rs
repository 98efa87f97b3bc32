//! What a bank left is fetched once, whole and in order, and nothing is lost or overwritten.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{Bank, Hook, KINDS, Kept, Kind, told};

fn append(path: PathBuf) -> Hook {
    Box::new(move |_| File::options().append(true).open(&path).unwrap().write_all(b"!").unwrap())
}

#[tokio::test]
async fn only_finished_ordinary_files_are_fetched() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"marker": ".done", "collected": "delete"}));
        let content: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 253) as u8).collect();
        bank.write("out/statement.xml", &content);
        bank.write("out/with space é.xml", "fine");
        for name in [".hidden", "a.part", "b.TMP", "c.filepart", "P1.xml.done", "new\nline", "tab\tbed"] {
            bank.write(&format!("out/{name}"), "not this");
        }
        let no_text = PathBuf::from(std::ffi::OsStr::from_bytes(b"no\xfftext"));
        fs::write(bank.path("out").join(no_text), "not this").unwrap();
        bank.write("out/empty", "");
        fs::create_dir(bank.path("out/folder")).unwrap();
        bank.write("precious", "not this");
        symlink("../precious", bank.path("out/link")).unwrap();
        mknodat(CWD, bank.path("out/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let mut kept = Kept::default();
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!(kept.names(), ["statement.xml", "with space é.xml"], "{kind:?}");
        assert!(kept.files.iter().any(|(_, fetched)| *fetched == content));
        assert_eq!(kept.files[0].0.folder, "out");
        // What was not fetched was not removed either.
        assert_eq!(fs::read_dir(bank.path("out")).unwrap().count(), 12);
        assert_eq!(bank.read("precious").unwrap(), b"not this");
    }
}

#[tokio::test]
async fn the_oldest_come_first_and_a_file_that_stays_is_fetched_once() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        for (name, age) in [("a", 300), ("b", 100), ("c", 200)] {
            bank.write(&format!("out/{name}"), name);
            let file = File::options().append(true).open(bank.path(&format!("out/{name}"))).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(age)).unwrap();
        }
        let mut kept = Kept::default();
        let delivery = bank.delivery(json!({}));
        for _ in 0..2 {
            assert_eq!(delivery.collect(&mut kept).await, Ok(()));
            let order: Vec<&str> = kept.files.iter().map(|(listed, _)| listed.name.as_str()).collect();
            assert_eq!(order, ["b", "c", "a"]);
        }
        assert_eq!(kept.files[0].0.modified, Some(100));
        assert_eq!(bank.names("out"), ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn a_file_that_changes_is_left_for_the_next_time() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"collected": "delete"}));
        bank.write("out/growing", "begun");
        // It grows after it was listed.
        let mut kept = Kept { asked: Some(append(bank.path("out/growing"))), ..Kept::default() };
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!((kept.files.len(), bank.names("out").len()), (0, 1));
        // It grows after it was stored: what is new must not be removed.
        let mut kept = Kept { taken: Some(append(bank.path("out/growing"))), ..Kept::default() };
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!(kept.files[0].1, b"begun!");
        assert_eq!(bank.read("out/growing").unwrap(), b"begun!!");
        kept.taken = None;
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!(kept.files[1].1, b"begun!!");
        assert_eq!(bank.names("out"), [""; 0]);
    }
}

#[tokio::test]
async fn the_archive_overwrites_nothing() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"collected": {"archive": "out/archive/2026"}}));
        let mut kept = Kept::default();
        for content in ["first", "second!", "the third"] {
            bank.write("out/S.xml", content);
            assert_eq!(delivery.collect(&mut kept).await, Ok(()));
            assert_eq!(bank.names("out"), [""; 0]);
        }
        assert_eq!(bank.names("out/archive/2026"), ["S.xml", "S.xml.1", "S.xml.2"]);
        assert_eq!(bank.read("out/archive/2026/S.xml").unwrap(), b"first");
        assert_eq!(bank.read("out/archive/2026/S.xml.2").unwrap(), b"the third");
        assert_eq!(kept.files.len(), 3);
    }
}

#[tokio::test]
async fn what_could_not_be_stored_stays() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"collected": "delete"}));
        bank.write("out/a", "one");
        bank.write("out/b", "two");
        let mut full = Kept { full: true, ..Kept::default() };
        assert_eq!(told(delivery.collect(&mut full).await), "unavailable inbox");
        assert_eq!(bank.names("out"), ["a", "b"]);
        let mut kept = Kept::default();
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!((kept.names(), bank.names("out")), (vec!["a", "b"], vec![]));
    }
}

#[tokio::test]
async fn what_was_stored_and_not_cleared_is_cleared_and_not_fetched_again() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        bank.write("out/a", "one");
        let mut kept = Kept::default();
        assert_eq!(bank.delivery(json!({})).collect(&mut kept).await, Ok(()));
        assert_eq!(bank.delivery(json!({"collected": "delete"})).collect(&mut kept).await, Ok(()));
        assert_eq!((kept.files.len(), bank.names("out")), (1, vec![]));
    }
}

#[tokio::test]
async fn one_trouble_does_not_stop_the_others_and_is_told() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        bank.write("out/a", "far too long");
        bank.write("out/b", "two");
        let settings = json!({"collect": ["gone", "out"], "file_bytes_max": 5, "collected": "delete"});
        let mut kept = Kept::default();
        assert_eq!(told(bank.delivery(settings).collect(&mut kept).await), "blocked folder_missing");
        assert_eq!((kept.names(), bank.names("out")), (vec!["b"], vec!["a".to_owned()]));
    }
}

#[tokio::test]
async fn a_file_waits_for_the_marker_beside_it() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"wants_marker": ".ok", "collected": "delete"}));
        for name in ["a", "b", "b.ok"] {
            bank.write(&format!("out/{name}"), "x");
        }
        let mut kept = Kept::default();
        assert_eq!(delivery.collect(&mut kept).await, Ok(()));
        assert_eq!((kept.names(), bank.names("out")), (vec!["b"], vec!["a".to_owned()]));
    }
}

#[tokio::test]
async fn a_full_folder_is_fetched_in_bounded_steps() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        for at in 0..3_000 {
            bank.write(&format!("out/{at:04}"), at.to_string());
        }
        // A server is asked five times for each file.
        let files_max = if kind == Kind::Folder { 1_700 } else { 170 };
        let delivery = bank.delivery(json!({"files_max": files_max}));
        let mut kept = Kept::default();
        for round in 1..=3 {
            assert_eq!(delivery.collect(&mut kept).await, Ok(()));
            assert_eq!(kept.files.len(), 3_000.min(round * files_max));
        }
        let right = |(listed, content): &(_, Vec<u8>)| {
            let listed: &crate::contract::Listed = listed;
            listed.name.parse::<u32>().unwrap().to_string().as_bytes() == content
        };
        assert!(kept.files.iter().all(right));
    }
}

#[tokio::test]
async fn a_linked_folder_is_not_collected() {
    let bank = Bank::new(Kind::Folder);
    fs::create_dir(bank.path("private")).unwrap();
    bank.write("private/a", "not this");
    fs::remove_dir(bank.path("out")).unwrap();
    symlink("private", bank.path("out")).unwrap();
    let mut kept = Kept::default();
    let delivery = bank.delivery(json!({"collected": "delete"}));
    assert_eq!(told(delivery.collect(&mut kept).await), "blocked folder_missing");
    assert_eq!((kept.files.len(), bank.names("private").len()), (0, 1));
}

//! A file of ours appears whole under its name, once, and replaces nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use super::super::Sight;
use super::{Bank, KINDS, Kind, Watched, gate, put, shuts_at, told};

#[tokio::test]
async fn what_was_put_is_there_whole_under_its_name_alone() {
    // More than one request of SFTP, and not a round number of them.
    let content: Vec<u8> = (0..3_000_017_u32).map(|at| (at % 251) as u8).collect();
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({}));
        let gate = gate();
        assert_eq!(delivery.look("P1.xml", content.len() as u64).await, Ok(Sight::Nothing));
        assert_eq!(delivery.put("P1.xml", &content, 7, &gate).await, Ok(()));
        assert_eq!(bank.names("in"), ["P1.xml"]);
        assert!(bank.read("in/P1.xml").as_deref() == Some(&content), "{kind:?} changed the content");
        assert_eq!(gate.passed(), 2, "once before the upload, once before the rename");
        assert_eq!(delivery.look("P1.xml", content.len() as u64).await, Ok(Sight::There));
        assert_eq!(delivery.look("P1.xml", 5).await, Ok(Sight::OtherSize));
    }
}

#[tokio::test]
async fn putting_it_again_writes_nothing() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({}));
        put(&delivery, "P1.xml", "pay 100").await.unwrap();
        let before = fs::metadata(bank.path("in/P1.xml")).unwrap();
        let shut = shuts_at(1);
        assert_eq!(delivery.put("P1.xml", b"pay 100", 7, &shut).await, Ok(()));
        assert_eq!(shut.passed(), 0, "nothing was to be written");
        let after = fs::metadata(bank.path("in/P1.xml")).unwrap();
        assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    }
}

#[tokio::test]
async fn a_file_of_another_size_is_left_and_leaves_a_doubt() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        bank.write("in/P1.xml", "pay 99999");
        assert_eq!(told(put(&bank.delivery(json!({})), "P1.xml", "pay 1").await), "in doubt other_size");
        assert_eq!(bank.read("in/P1.xml").unwrap(), b"pay 99999");
    }
}

#[tokio::test]
async fn a_name_taken_during_the_upload_is_not_overwritten() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({}));
        let path = bank.path("in/P1.xml");
        let gate = Watched::new(move |asked| {
            if asked == 2 {
                fs::write(&path, "pay 99999").unwrap();
            }
            Ok(())
        });
        assert_eq!(told(delivery.put("P1.xml", b"pay 1", 7, &gate).await), "in doubt other_size");
        assert_eq!(bank.read("in/P1.xml").unwrap(), b"pay 99999");
    }
}

#[tokio::test]
async fn a_leftover_is_no_delivery_and_the_next_put_succeeds() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        bank.write("in/.P1.xml.part", "pay 1 and much more");
        let delivery = bank.delivery(json!({}));
        assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::OnlyPart));
        put(&delivery, "P1.xml", "pay 100").await.unwrap();
        assert_eq!(bank.names("in"), ["P1.xml"]);
        assert_eq!(bank.read("in/P1.xml").unwrap(), b"pay 100");
    }
}

#[tokio::test]
async fn a_shut_gate_keeps_the_name_away() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"marker": ".done"}));
        assert_eq!(told(delivery.put("P1.xml", b"pay 100", 7, &shuts_at(1)).await), "blocked paused");
        assert_eq!(bank.names("in"), [""; 0]);
        assert_eq!(told(delivery.put("P1.xml", b"pay 100", 7, &shuts_at(2)).await), "blocked paused");
        assert_eq!(bank.names("in"), [".P1.xml.part"]);
        assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::OnlyPart));
    }
}

#[tokio::test]
async fn the_marker_follows_the_file() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"marker": ".done"}));
        put(&delivery, "P1.xml", "pay 100").await.unwrap();
        assert_eq!(bank.names("in"), ["P1.xml", "P1.xml.done"]);
        assert_eq!(bank.read("in/P1.xml.done").unwrap(), b"");
        fs::remove_file(bank.path("in/P1.xml.done")).unwrap();
        assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::Unmarked));
        // A marker lets the bank take the file: the gate has a say in that.
        assert_eq!(told(delivery.put("P1.xml", b"pay 100", 7, &shuts_at(1)).await), "blocked paused");
        assert_eq!(bank.names("in"), ["P1.xml"]);
        let gate = gate();
        assert_eq!(delivery.put("P1.xml", b"pay 100", 7, &gate).await, Ok(()));
        assert_eq!((gate.passed(), bank.names("in").len()), (1, 2));
        assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::There));
    }
}

#[tokio::test]
async fn what_the_bank_took_is_not_put_again() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        let delivery = bank.delivery(json!({"marker": ".done", "sent": ["in/done"]}));
        bank.write("in/done/P1.xml", "pay 100");
        assert_eq!(delivery.look("P1.xml", 7).await, Ok(Sight::There));
        put(&delivery, "P1.xml", "pay 100").await.unwrap();
        assert_eq!(bank.names("in"), [""; 0]);
        assert_eq!(told(put(&delivery, "P1.xml", "pay 1").await), "in doubt other_size");
    }
}

#[tokio::test]
async fn a_missing_folder_is_not_taken_for_a_missing_file() {
    for kind in KINDS {
        let bank = Bank::new(kind);
        for settings in [json!({"outbox": "mnt"}), json!({"sent": ["mnt"]})] {
            let delivery = bank.delivery(settings);
            assert_eq!(told(delivery.look("P1.xml", 7).await.map(drop)), "blocked folder_missing");
            assert_eq!(told(put(&delivery, "P1.xml", "pay 100").await), "blocked folder_missing");
        }
        assert_eq!(bank.names("in"), [""; 0]);
    }
}

#[tokio::test]
async fn odd_names_go_nowhere() {
    let long = "n".repeat(201);
    let bank = Bank::new(Kind::Folder);
    let delivery = bank.delivery(json!({}));
    for name in ["", ".hidden", "a/b", "..", "a b", "a\nb", "é.xml", "a\0b", "$(reboot)", long.as_str()] {
        assert_eq!(told(put(&delivery, name, "pay 100").await), "blocked file_name", "{name:?}");
        assert_eq!(told(delivery.look(name, 7).await.map(drop)), "blocked file_name", "{name:?}");
    }
    assert_eq!(bank.names("in"), [""; 0]);
}

#[tokio::test]
async fn a_link_does_not_lead_out_of_a_folder() {
    let bank = Bank::new(Kind::Folder);
    bank.write("precious", "untouched");
    symlink("../precious", bank.path("in/.P1.xml.part")).unwrap();
    let delivery = bank.delivery(json!({}));
    assert_eq!(told(put(&delivery, "P1.xml", "pay 100").await), "blocked permission_denied");
    symlink("../precious", bank.path("in/P2.xml")).unwrap();
    assert_eq!(told(put(&delivery, "P2.xml", "untouched").await), "in doubt other_size");
    symlink("in", bank.path("elsewhere")).unwrap();
    let elsewhere = bank.delivery(json!({"outbox": "elsewhere"}));
    assert_eq!(told(put(&elsewhere, "P3.xml", "pay 100").await), "blocked folder_missing");
    assert_eq!(bank.read("precious").unwrap(), b"untouched");
    assert_eq!(bank.read("in/P3.xml"), None);
}

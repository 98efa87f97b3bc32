//! What the bank connector does of its own: a file that is not the batch stays here, and the kind of a file is told.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::json;

use super::open;
use crate::contract::{
    Batch, Connector, Currency, Failure, Gate, Instruction, Message, Money, Reference, Report, Said,
};

/// Lets everything pass.
struct Open;

#[async_trait]
impl Gate for Open {
    async fn pass(&self, _: u32) -> Result<(), Failure> {
        Ok(())
    }
}

/// Counts what is said.
#[derive(Default)]
struct Heard(usize);

#[async_trait]
impl Said for Heard {
    async fn say(&mut self, _: Message, reports: Vec<Report>) -> anyhow::Result<()> {
        self.0 += reports.len();
        Ok(())
    }
}

fn bank(root: &Path) -> super::Bank {
    let settings = json!({
        "bank": {"debtor": {"name": "Treasury", "account": {"other": "0011223344"}, "agent": {"bic": "BANKKENAXXX"}}},
        "delivery": {"kind": "folder", "path": root, "outbox": "in"},
    });
    open("bank", serde_json::from_value(settings).unwrap()).unwrap()
}

fn batch(rows: i64) -> Batch {
    let currency = Currency::parse("KES").unwrap();
    let instruction = |number| Instruction {
        reference: Reference::new(number, 7),
        amount: Money::new(100 + number, currency),
        payee_name: "Amina".to_owned(),
        payee_account: format!("account:00000000{number:04}@bank"),
        purpose: String::new(),
        provider_reference: None,
    };
    Batch {
        reference: Reference::new(9, 7),
        title: "Net".to_owned(),
        currency,
        made_at: "2026-11-25T08:30:00Z".parse().unwrap(),
        execute_on: "2026-11-25".parse().unwrap(),
        wire_bytes: 0,
        provider_reference: None,
        instructions: (1..=rows).map(instruction).collect(),
    }
}

fn files(root: &Path) -> usize {
    std::fs::read_dir(root.join("in")).unwrap().count()
}

#[tokio::test]
async fn a_file_that_is_not_the_batch_is_our_fault_and_rejects_nobody() {
    let root: PathBuf = std::env::temp_dir().join(format!("paymaster-bank-{}", std::process::id()));
    std::fs::create_dir_all(root.join("in")).unwrap();
    let (bank, whole) = (bank(&root), batch(3));
    let wire = bank.encode(&whole).unwrap();
    let mut heard = Heard::default();
    // Some of its rows have come to an end since: an earlier copy of the file may be on its way all the same.
    let failure = bank.submit(&batch(2), &wire, &Open, &mut heard).await.unwrap_err();
    assert!(matches!(&failure, Failure::Blocked(reason) if reason.code == "not_the_batch"), "{failure:?}");
    assert_eq!((heard.0, files(&root)), (0, 0));
    bank.submit(&whole, &wire, &Open, &mut heard).await.unwrap();
    assert_eq!((heard.0, files(&root)), (1, 1));
    std::fs::remove_dir_all(&root).unwrap();
}

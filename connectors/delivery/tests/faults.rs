//! Each step of a place fails once in each way: whatever is answered about it is true.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::super::folder::Folder;
use super::super::place::{At, Place, Stat, Trouble};
use super::super::{collect, put};
use super::{Bank, Hook, Kept, Kind, gate, told};
use crate::contract::Failure;

/// More steps than a put or a collect of these tests has.
const STEPS_MAX: u32 = 100;

/// A folder of which one step fails.
struct Faulty {
    folder: Folder,
    steps: AtomicU32,
    fails_at: u32,
    trouble: Trouble,
    /// Whether the step that fails is done all the same.
    done: bool,
    rename_began: AtomicBool,
    /// Called after each copy and each rename.
    after: Option<Hook>,
}

impl Faulty {
    fn new(bank: &Bank, fails_at: u32, trouble: Trouble, done: bool) -> Self {
        let folder = Folder::new(bank.root.path());
        Self { folder, steps: AtomicU32::new(0), fails_at, trouble, done, rename_began: false.into(), after: None }
    }

    /// Whether it had as many steps as it took to fail.
    fn failed(&self) -> bool {
        self.steps.load(Ordering::SeqCst) > self.fails_at
    }

    async fn step<T>(&self, step: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        if self.steps.fetch_add(1, Ordering::SeqCst) != self.fails_at {
            return step.await;
        }
        if self.done {
            step.await?;
        }
        Err(self.trouble.clone())
    }
}

#[async_trait]
impl Place for Faulty {
    async fn enter(&self, folder: &str) -> Result<(), Trouble> {
        self.step(self.folder.enter(folder)).await
    }
    async fn stat(&self, at: At<'_>) -> Result<Option<Stat>, Trouble> {
        self.step(self.folder.stat(at)).await
    }
    async fn list(&self, folder: &str, most: usize) -> Result<Vec<(Vec<u8>, Stat)>, Trouble> {
        self.step(self.folder.list(folder, most)).await
    }
    async fn write(&self, at: At<'_>, bytes: &[u8]) -> Result<(), Trouble> {
        self.step(self.folder.write(at, bytes)).await
    }
    async fn rename_new(&self, from: At<'_>, to: At<'_>) -> Result<(), Trouble> {
        self.rename_began.store(true, Ordering::SeqCst);
        let renamed = self.step(self.folder.rename_new(from, to)).await;
        if let Some(after) = &self.after {
            after(to.name);
        }
        renamed
    }
    async fn remove(&self, at: At<'_>) -> Result<(), Trouble> {
        self.step(self.folder.remove(at)).await
    }
    async fn fetch(&self, at: At<'_>, bytes: u64, into: File) -> Result<bool, Trouble> {
        let fetched = self.step(self.folder.fetch(at, bytes, into)).await;
        if let Some(after) = &self.after {
            after(at.name);
        }
        fetched
    }
    async fn make_folder(&self, folder: &str) -> Result<(), Trouble> {
        self.step(self.folder.make_folder(folder)).await
    }
}

/// Every way in which a step can fail.
fn troubles() -> Vec<(Trouble, bool)> {
    let text = || "disk full".to_owned();
    let answered = [Trouble::Missing(text()), Trouble::Denied(text()), Trouble::No(text())];
    let mut all: Vec<(Trouble, bool)> =
        answered.into_iter().flat_map(|one| [(one.clone(), false), (one, true)]).collect();
    all.extend([(Trouble::Unsent(text()), false), (Trouble::Lost(text()), false), (Trouble::Lost(text()), true)]);
    all
}

#[tokio::test]
async fn whatever_step_of_a_put_fails_the_answer_is_true() {
    let mut doubts = 0;
    for (trouble, done) in troubles() {
        for fails_at in 0..STEPS_MAX {
            let bank = Bank::new(Kind::Folder);
            let delivery = bank.delivery(json!({"marker": ".done", "sent": ["in/done"]}));
            let place = Faulty::new(&bank, fails_at, trouble.clone(), done);
            let file = put::Outgoing { name: "P1.xml", bytes: b"pay 100", items: 7 };
            let answer = put::put(&place, &delivery.plan, &file, &gate()).await;
            let began = place.rename_began.load(Ordering::SeqCst);
            let case = format!("{trouble:?} done {done} at {fails_at}: {answer:?}");
            let there = bank.read("in/P1.xml").is_some();
            match &answer {
                Ok(()) => assert!(there && bank.read("in/P1.xml.done").is_some(), "{case}"),
                Err(Failure::InDoubt(_)) => {
                    doubts += 1;
                    assert!(began, "{case}");
                }
                Err(Failure::Blocked(_) | Failure::Unavailable { .. }) => assert!(!there, "{case}"),
                Err(Failure::Refused(_)) => panic!("{case}"),
            }
            assert_eq!(delivery.put("P1.xml", b"pay 100", 7, &gate()).await, Ok(()), "{case}");
            assert_eq!(bank.read("in/P1.xml").unwrap(), b"pay 100", "{case}");
            if !place.failed() {
                break;
            }
        }
    }
    assert!(doubts > 0, "a lost answer to the rename leaves a doubt");
}

#[tokio::test]
async fn a_full_disk_leaves_no_doubt() {
    let bank = Bank::new(Kind::Folder);
    let delivery = bank.delivery(json!({}));
    // The folder and two names are looked at before the upload.
    let place = Faulty::new(&bank, 3, Trouble::No("disk full".to_owned()), false);
    let file = put::Outgoing { name: "P1.xml", bytes: b"pay 100", items: 7 };
    assert_eq!(told(put::put(&place, &delivery.plan, &file, &gate()).await), "unavailable place_refused");
    assert!(!place.rename_began.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_no_to_the_rename_is_not_believed_when_the_file_is_gone() {
    let bank = Bank::new(Kind::Folder);
    let delivery = bank.delivery(json!({}));
    // The rename, after four looks and the upload: it is done, the bank takes the file, and the answer is no.
    let mut place = Faulty::new(&bank, 5, Trouble::No("failure".to_owned()), true);
    let path = bank.path("in/P1.xml");
    place.after = Some(Box::new(move |_| std::fs::remove_file(&path).unwrap()));
    let file = put::Outgoing { name: "P1.xml", bytes: b"pay 100", items: 7 };
    assert_eq!(told(put::put(&place, &delivery.plan, &file, &gate()).await), "in doubt place_refused");
}

#[tokio::test]
async fn whatever_step_of_a_collect_fails_no_file_is_lost() {
    for (trouble, done) in troubles() {
        for fails_at in 0..STEPS_MAX {
            let bank = Bank::new(Kind::Folder);
            let settings = json!({"collected": {"archive": "old"}, "wants_marker": ".ok"});
            let delivery = bank.delivery(settings);
            for name in ["a", "a.ok", "b", "b.ok"] {
                bank.write(&format!("out/{name}"), name);
            }
            let place = Faulty::new(&bank, fails_at, trouble.clone(), done);
            let mut kept = Kept::default();
            let answer = collect::collect(&place, &delivery.plan, &mut kept).await;
            let case = format!("{trouble:?} done {done} at {fails_at}: {answer:?}");
            assert!(!matches!(answer, Err(Failure::InDoubt(_) | Failure::Refused(_))), "{case}");
            let stays = |name: &str| bank.read(&format!("out/{name}")).is_some();
            assert!(["a", "b"].iter().all(|name| stays(name) || kept.names().contains(name)), "{case}");
            delivery.collect(&mut kept).await.unwrap();
            assert_eq!(kept.names(), ["a", "b"], "{case}");
            if !place.failed() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_copied_is_left() {
    let bank = Bank::new(Kind::Folder);
    let delivery = bank.delivery(json!({"collected": "delete"}));
    bank.write("out/a", "begun");
    let path = bank.path("out/a");
    let mut place = Faulty::new(&bank, STEPS_MAX, Trouble::No(String::new()), false);
    place.after = Some(Box::new(move |_| std::fs::write(&path, "begun and more").unwrap()));
    let mut kept = Kept::default();
    assert_eq!(collect::collect(&place, &delivery.plan, &mut kept).await, Ok(()));
    assert_eq!((kept.files.len(), bank.names("out").len()), (0, 1));
}

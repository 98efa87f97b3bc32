//! The rules by which the files that a bank left are fetched, the same for every place.
//! Deliberately not here: how a place does a step, and what stands in the files.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};

use super::place::{At, Place, Stat, Trouble, unavailable};
use super::settings::{Collected, Plan};
use crate::contract::{Failure, Inbox, Listed, Reason};

/// Most names in one folder that are looked at.
const NAMES_MAX: usize = 100_000;
/// Longest name that is fetched.
const NAME_BYTES_MAX: usize = 255;
/// Most files of one name in the archive.
const ARCHIVED_MAX: u32 = 1_000;
/// Longest part of an odd name that is logged.
const SHOWN_CHARS_MAX: usize = 100;
/// How names end while their files are still being written.
const UNFINISHED: [&str; 3] = [".part", ".tmp", ".filepart"];

/// Fetches what is new.
pub(super) async fn collect(place: &dyn Place, plan: &Plan, inbox: &mut dyn Inbox) -> Result<(), Failure> {
    let mut round = Round { place, plan, inbox, left: plan.files_max, first: None };
    for folder in &plan.collect {
        round.folder(folder).await?;
    }
    round.first.map_or(Ok(()), Err)
}

/// One visit to all folders. An error ends it; what concerns one file is kept in `first` and told at the end.
struct Round<'a> {
    place: &'a dyn Place,
    plan: &'a Plan,
    inbox: &'a mut dyn Inbox,
    /// How many more files may be handled.
    left: u32,
    first: Option<Failure>,
}

impl Round<'_> {
    async fn folder(&mut self, folder: &str) -> Result<(), Failure> {
        let names = match self.place.list(folder, NAMES_MAX).await {
            Ok(names) => names,
            Err(trouble) => return self.note(folder, trouble),
        };
        if names.len() >= NAMES_MAX {
            tracing::warn!(folder, names = NAMES_MAX, "a folder holds more names than are looked at");
        }
        for listed in sift(self.plan, folder, names) {
            if self.left == 0 {
                break;
            }
            match self.file(&listed).await? {
                // Whoever left it has taken it back.
                Ok(()) | Err(Trouble::Missing(_)) => {}
                Err(trouble) => self.note(&listed.name, trouble)?,
            }
        }
        Ok(())
    }

    /// Takes one file and clears it away. The outer error is the inbox's, the inner one the place's.
    async fn file(&mut self, listed: &Listed) -> Result<Result<(), Trouble>, Failure> {
        let had = self.inbox.has(listed).await.map_err(|error| inbox_failed(&error))?;
        if had && self.plan.collected == Collected::Leave {
            return Ok(Ok(()));
        }
        self.left -= 1;
        if !had {
            if listed.bytes > self.plan.file_bytes_max {
                return Ok(Err(Trouble::No(format!("it has {} bytes, more than file_bytes_max", listed.bytes))));
            }
            match self.fetch(listed).await {
                Ok(Some(file)) => {
                    let taken = self.inbox.take(listed, Box::new(file)).await;
                    taken.map_err(|error| inbox_failed(&error))?;
                }
                Ok(None) => {
                    tracing::info!(folder = listed.folder, name = listed.name, "a file is still changing");
                    return Ok(Ok(()));
                }
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
        Ok(self.clear(listed).await)
    }

    /// The whole file, at its beginning, in a file of ours that has no name; `None` when it changed meanwhile.
    async fn fetch(&self, listed: &Listed) -> Result<Option<File>, Trouble> {
        if !self.is_still(listed).await? {
            return Ok(None);
        }
        let made = tokio::task::spawn_blocking(|| {
            let file = tempfile::tempfile()?;
            Ok::<_, std::io::Error>((file.try_clone()?, file))
        });
        let made = made.await.map_err(|error| Trouble::Ours(error.to_string()))?;
        let (copy, mut file) = made.map_err(|error| Trouble::Ours(error.to_string()))?;
        let whole = self.place.fetch(at(listed), listed.bytes, copy).await?;
        if !whole || !self.is_still(listed).await? {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| Trouble::Ours(error.to_string()))?;
        Ok(Some(file))
    }

    /// Whether a file is what was listed.
    async fn is_still(&self, listed: &Listed) -> Result<bool, Trouble> {
        let stat = self.place.stat(at(listed)).await?;
        Ok(stat == Some(Stat { is_file: true, bytes: listed.bytes, modified: listed.modified }))
    }

    /// Does with a stored file what is to be done, unless it has changed since.
    async fn clear(&self, listed: &Listed) -> Result<(), Trouble> {
        if self.plan.collected == Collected::Leave || !self.is_still(listed).await? {
            return Ok(());
        }
        self.put_away(at(listed)).await?;
        let Some(marker) = &self.plan.wants_marker else { return Ok(()) };
        let marker = format!("{}{marker}", listed.name);
        self.put_away(At { folder: &listed.folder, name: &marker }).await
    }

    async fn put_away(&self, at: At<'_>) -> Result<(), Trouble> {
        match &self.plan.collected {
            Collected::Leave => Ok(()),
            Collected::Delete => self.place.remove(at).await,
            Collected::Archive(archive) => {
                self.place.make_folder(archive).await?;
                self.archive(at, archive).await
            }
        }
    }

    /// Moves a file to the archive, under a name that nothing has there.
    async fn archive(&self, from: At<'_>, archive: &str) -> Result<(), Trouble> {
        for copy in 0..ARCHIVED_MAX {
            let name = if copy == 0 { from.name.to_owned() } else { format!("{}.{copy}", from.name) };
            let to = At { folder: archive, name: &name };
            if self.place.stat(to).await?.is_some() {
                continue;
            }
            match self.place.rename_new(from, to).await {
                // Another round has just taken that name.
                Err(Trouble::No(_)) if self.place.stat(to).await?.is_some() => {}
                done => return done,
            }
        }
        Err(Trouble::No(format!("the archive holds {ARCHIVED_MAX} files of that name")))
    }

    /// Keeps the first trouble that concerns one file or folder; one that concerns all of them ends the round.
    fn note(&mut self, name: &str, trouble: Trouble) -> Result<(), Failure> {
        if !trouble.answered() {
            return Err(trouble.failure());
        }
        tracing::warn!(name, ?trouble, "a file or folder could not be collected");
        self.first.get_or_insert(trouble.failure());
        Ok(())
    }
}

fn at(listed: &Listed) -> At<'_> {
    At { folder: &listed.folder, name: &listed.name }
}

fn inbox_failed(error: &anyhow::Error) -> Failure {
    unavailable(Reason::unknown("inbox", format!("what was fetched could not be stored: {error:#}")))
}

/// What of a folder's names may be fetched, the oldest first.
fn sift(plan: &Plan, folder: &str, names: Vec<(Vec<u8>, Stat)>) -> Vec<Listed> {
    let names: Vec<(String, Stat)> =
        names.into_iter().filter_map(|(name, stat)| Some((readable(folder, name)?, stat))).collect();
    let all: HashSet<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let is_wanted = |name: &str| match &plan.wants_marker {
        Some(marker) => all.contains(format!("{name}{marker}").as_str()),
        None => true,
    };
    let mut wanted: Vec<Listed> = names
        .iter()
        .filter(|(name, stat)| stat.is_file && stat.bytes > 0 && is_finished(plan, name) && is_wanted(name))
        .map(|(name, stat)| Listed {
            folder: folder.to_owned(),
            name: name.clone(),
            bytes: stat.bytes,
            modified: stat.modified,
        })
        .collect();
    wanted.sort_unstable_by(|one, other| (one.modified, &one.name).cmp(&(other.modified, &other.name)));
    wanted
}

/// A name that can be stored and shown; others are left where they are.
fn readable(folder: &str, name: Vec<u8>) -> Option<String> {
    let name = String::from_utf8(name).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    // What was no text has become replacement characters, be it here or in the reading of the listing.
    let odd = |letter: char| letter.is_control() || matches!(letter, '/' | char::REPLACEMENT_CHARACTER);
    if name.len() <= NAME_BYTES_MAX && !name.contains(odd) {
        return Some(name);
    }
    let shown: String = name.escape_debug().take(SHOWN_CHARS_MAX).collect();
    tracing::warn!(folder, name = shown, "a file with an odd name is left where it is");
    None
}

fn is_finished(plan: &Plan, name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_marker = plan.marker.iter().chain(&plan.wants_marker).any(|marker| name.ends_with(marker.as_str()));
    !name.starts_with('.') && !is_marker && !UNFINISHED.iter().any(|ending| lower.ends_with(ending))
}

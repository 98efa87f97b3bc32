//! How files travel to and from a bank: into its folder under their final name at once, and out of its folders once
//! they are whole. The rules are here, once; a local folder and SFTP differ in the steps of [`Place`] alone.
//!
//! A file is written under a temporary name, measured, and renamed to a name that nothing may have. Before the rename
//! was asked for, nothing went; from then on only looking tells. Deliberately not here: what stands in the files.

mod folder;
mod names;
mod settings;
mod sftp;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::time::Duration;

use async_trait::async_trait;

pub use settings::{Collected, Kind, Settings};

use crate::contract::{Failure, Gate, Inbox, Listed, Reason, ReasonClass};
use names::{is_whole_name, may_be_put, shown};

/// Names looked at in one folder.
const NAMES_MAX: usize = 100_000;
/// Names tried for a file in an archive before it is left where it is.
const ARCHIVE_TRIES_MAX: u32 = 1_000;

/// What a place says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    bytes: u64,
    /// Seconds since 1970.
    modified: Option<i64>,
    /// Neither a folder, nor a link, nor a device.
    is_file: bool,
}

/// A name in a folder; one that is no UTF-8 is none.
#[derive(Debug, Clone)]
struct Found {
    name: String,
    stat: Stat,
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// It was not done: the other side cannot be reached, or says that it cannot now.
    Away(String),
    /// It was not done, and will not be until somebody has looked: stable code, words.
    Wrong(&'static str, String),
    /// The name has something already.
    Exists,
    /// It may have been done.
    Unknown(String),
}

impl Trouble {
    /// What it means before anything could have been delivered.
    fn before(self) -> Failure {
        match self {
            Self::Away(text) | Self::Unknown(text) => unavailable("delivery", text),
            Self::Wrong(code, text) => Failure::Blocked(Reason::new(ReasonClass::NotExecuted, code, text)),
            Self::Exists => unavailable("delivery", "the name has something already"),
        }
    }
}

type Step<T> = Result<T, Trouble>;

/// Single steps in a place. Paths are relative to its root, with `/`. No step is repeated.
#[async_trait]
trait Place: Send {
    /// What a name is; links are not followed.
    async fn stat(&mut self, path: &str) -> Step<Option<Stat>>;
    /// At most `most` names of a folder, in any order.
    async fn list(&mut self, folder: &str, most: usize) -> Step<Vec<Found>>;
    /// Writes a file whole, over one that is there, durably where that can be asked for.
    async fn write(&mut self, path: &str, bytes: &[u8]) -> Step<()>;
    /// Gives a file another name that nothing may have.
    async fn rename(&mut self, from: &str, to: &str) -> Step<()>;
    /// Removes a file.
    async fn remove(&mut self, path: &str) -> Step<()>;
    /// Fetches a file into one without a name, which stands at its beginning. Never more than `most` bytes.
    async fn fetch(&mut self, path: &str, most: u64) -> Step<File>;
    /// Makes a folder if it is not there.
    async fn make_folder(&mut self, path: &str) -> Step<()>;
}

/// Where a file that was put earlier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Under its name and as long as it was, where it was put or where the bank keeps what it took.
    There,
    /// Something else has its name.
    OtherSize,
    /// Only its temporary file is: it was not delivered.
    OnlyPart,
    /// Nowhere that we may look.
    Nothing,
}

/// A bank's place, and the rules by which files go there and come from there.
pub struct Delivery {
    settings: Settings,
}

impl Delivery {
    fn new(settings: Settings) -> Self {
        Self { settings }
    }

    async fn open(&self) -> Step<Box<dyn Place>> {
        match &self.settings.kind {
            Kind::Folder => Ok(Box::new(folder::Folder::open(&self.settings.path))),
            Kind::Sftp(server) => {
                let within = Duration::from_secs(self.settings.timeout_seconds);
                Ok(Box::new(sftp::Sftp::open(server, &self.settings.path, within).await?))
            }
        }
    }

    /// Puts one file of `items` payments. `gate` is asked before the upload and right before the rename.
    pub async fn put(&self, name: &str, bytes: &[u8], items: u32, gate: &dyn Gate) -> Result<(), Failure> {
        if !may_be_put(name) {
            return Err(wrong("file_name", format!("{} is no name for a file to be put", shown(name))));
        }
        let mut place = self.open().await.map_err(Trouble::before)?;
        let size = bytes.len() as u64;
        match self.sight(place.as_mut(), name, size).await.map_err(Trouble::before)? {
            Sight::There => return self.mark(place.as_mut(), name).await,
            Sight::OtherSize => {
                return Err(Failure::InDoubt(Reason::unknown(
                    "other_size",
                    format!("{name} is there with another size"),
                )));
            }
            Sight::OnlyPart | Sight::Nothing => {}
        }
        gate.pass(items).await?;
        let (part, whole) = (self.part(name), self.whole(name));
        place.write(&part, bytes).await.map_err(Trouble::before)?;
        let written = place.stat(&part).await.map_err(Trouble::before)?;
        if written.map(|stat| stat.bytes) != Some(size) {
            return Err(unavailable("short_upload", format!("{name} is {written:?} after {size} bytes were written")));
        }
        // Nothing was delivered until here; the upload may have taken longer than a lease.
        gate.pass(0).await?;
        match place.rename(&part, &whole).await {
            Ok(()) => {}
            Err(Trouble::Exists) => {
                return Err(Failure::InDoubt(Reason::unknown(
                    "name_taken",
                    format!("{name} appeared while it was put"),
                )));
            }
            Err(Trouble::Unknown(text)) => return Err(Failure::InDoubt(Reason::unknown("rename_unanswered", text))),
            Err(trouble) => return self.refused(place.as_mut(), name, size, trouble).await,
        }
        // The bank may take it away at once: that it is not there any more is no doubt.
        if let Ok(Some(stat)) = place.stat(&whole).await
            && stat.bytes != size
        {
            let text = format!("{name} has {} bytes after it was put with {size}", stat.bytes);
            return Err(Failure::InDoubt(Reason::unknown("other_size", text)));
        }
        self.mark(place.as_mut(), name).await
    }

    /// The other side says that it did not rename: believed if the temporary file is still there.
    async fn refused(&self, place: &mut dyn Place, name: &str, size: u64, trouble: Trouble) -> Result<(), Failure> {
        match self.sight(place, name, size).await {
            Ok(Sight::OnlyPart) => Err(trouble.before()),
            Ok(Sight::There) => self.mark(place, name).await,
            _ => Err(Failure::InDoubt(Reason::unknown("rename_refused", format!("{name}: {trouble:?}")))),
        }
    }

    /// Puts the marker beside a file that is there, for banks that wait for one. Without it the file waits: in doubt
    /// until somebody looks again.
    async fn mark(&self, place: &mut dyn Place, name: &str) -> Result<(), Failure> {
        let Some(marker) = &self.settings.marker else { return Ok(()) };
        let path = format!("{}{marker}", self.whole(name));
        let marked = match place.stat(&path).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => place.write(&path, &[]).await,
            Err(trouble) => Err(trouble),
        };
        marked.map_err(|trouble| Failure::InDoubt(Reason::unknown("not_marked", format!("{name}: {trouble:?}"))))
    }

    /// Looks where a file put earlier is.
    pub async fn look(&self, name: &str, bytes: u64) -> Result<Sight, Failure> {
        let mut place = self.open().await.map_err(Trouble::before)?;
        let sight = self.sight(place.as_mut(), name, bytes).await.map_err(Trouble::before)?;
        if sight == Sight::There {
            self.mark(place.as_mut(), name).await?;
        }
        Ok(sight)
    }

    async fn sight(&self, place: &mut dyn Place, name: &str, bytes: u64) -> Step<Sight> {
        let kept = self.settings.sent.iter().map(|folder| join(folder, name));
        for path in std::iter::once(self.whole(name)).chain(kept) {
            if let Some(stat) = place.stat(&path).await? {
                return Ok(if stat.bytes == bytes { Sight::There } else { Sight::OtherSize });
            }
        }
        Ok(match place.stat(&self.part(name)).await? {
            Some(_) => Sight::OnlyPart,
            None => Sight::Nothing,
        })
    }

    fn whole(&self, name: &str) -> String {
        join(&self.settings.outbox, name)
    }

    fn part(&self, name: &str) -> String {
        join(&self.settings.outbox, &format!(".{name}.part"))
    }

    /// Fetches what is new and whole to `inbox`, folder by folder, and then does with each file what is configured.
    pub async fn collect(&self, inbox: &mut dyn Inbox) -> Result<(), Failure> {
        let mut place = self.open().await.map_err(Trouble::before)?;
        if let Collected::Archive(folder) = &self.settings.collected {
            place.make_folder(folder).await.map_err(Trouble::before)?;
        }
        let mut left = self.settings.files_max;
        let mut failed = None;
        for folder in &self.settings.collect {
            for listed in self.listed(place.as_mut(), folder).await? {
                if left == 0 {
                    tracing::warn!(folder, "more files than are fetched at once; the rest is for the next time");
                    return failed.map_or(Ok(()), Err);
                }
                match self.take(place.as_mut(), inbox, &listed).await? {
                    Ok(fetched) => left -= usize::from(fetched),
                    Err(trouble) => {
                        tracing::warn!(folder, file = %shown(&listed.name), ?trouble, "a file could not be fetched");
                        failed.get_or_insert(trouble.before());
                    }
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whole files of a folder, oldest first.
    async fn listed(&self, place: &mut dyn Place, folder: &str) -> Result<Vec<Listed>, Failure> {
        let found = place.list(folder, NAMES_MAX).await.map_err(Trouble::before)?;
        let marker = self.settings.wants_marker.as_deref();
        let marks: std::collections::HashSet<String> = match marker {
            Some(marker) => found.iter().filter_map(|one| one.name.strip_suffix(marker)).map(str::to_owned).collect(),
            None => std::collections::HashSet::new(),
        };
        let markers: Vec<&str> = [marker, self.settings.marker.as_deref()].into_iter().flatten().collect();
        let mut files = Vec::new();
        for Found { name, stat } in found {
            let is_marker = markers.iter().any(|marker| name.ends_with(marker));
            if !stat.is_file || is_marker || stat.bytes == 0 || !is_whole_name(&name) {
                continue;
            }
            if stat.bytes > self.settings.file_bytes_max {
                tracing::warn!(folder, file = %shown(&name), bytes = stat.bytes, "a file is too long and is left");
                continue;
            }
            if marker.is_none() || marks.contains(&name) {
                files.push(Listed { folder: folder.to_owned(), name, bytes: stat.bytes, modified: stat.modified });
            }
        }
        files.sort_unstable_by(|a, b| (a.modified, &a.name).cmp(&(b.modified, &b.name)));
        Ok(files)
    }

    /// One file; whether it was fetched. What ends the whole collecting is the outer failure.
    async fn take(&self, place: &mut dyn Place, inbox: &mut dyn Inbox, listed: &Listed) -> Result<Step<bool>, Failure> {
        let not_stored = |error: anyhow::Error| unavailable("not_stored", format!("{error:#}"));
        let path = join(&listed.folder, &listed.name);
        let known = inbox.has(listed).await.map_err(not_stored)?;
        if !known {
            let before = Stat { bytes: listed.bytes, modified: listed.modified, is_file: true };
            let file = match place.fetch(&path, listed.bytes).await {
                Ok(file) => file,
                Err(trouble) => return Ok(Err(trouble)),
            };
            match place.stat(&path).await {
                Ok(Some(after)) if after == before => {}
                // Still being written, or replaced: it is looked at again the next time.
                Ok(_) => return Ok(Ok(true)),
                Err(trouble) => return Ok(Err(trouble)),
            }
            inbox.take(listed, Box::new(file)).await.map_err(not_stored)?;
        }
        Ok(self.put_away(place, listed, &path).await.map(|()| !known))
    }

    async fn put_away(&self, place: &mut dyn Place, listed: &Listed, path: &str) -> Step<()> {
        match &self.settings.collected {
            Collected::Leave => Ok(()),
            Collected::Delete => place.remove(path).await,
            Collected::Archive(folder) => {
                for count in 0..ARCHIVE_TRIES_MAX {
                    let name = if count == 0 { listed.name.clone() } else { format!("{}.{count}", listed.name) };
                    match place.rename(path, &join(folder, &name)).await {
                        Err(Trouble::Exists) => {}
                        moved => return moved,
                    }
                }
                Err(Trouble::Wrong("archive_full", format!("{} has no free name in {folder}", shown(&listed.name))))
            }
        }
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn unavailable(code: &str, text: impl AsRef<str>) -> Failure {
    Failure::Unavailable { reason: Reason::new(ReasonClass::NotExecuted, code, text), retry_after_seconds: None }
}

fn wrong(code: &str, text: impl AsRef<str>) -> Failure {
    Failure::Blocked(Reason::new(ReasonClass::Format, code, text))
}

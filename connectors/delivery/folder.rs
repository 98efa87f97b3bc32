//! A folder as a place where files lie. Nothing below the root is reached through a symbolic link: whoever may write
//! there must not lead us elsewhere.
//! Deliberately not here: the rules of delivery.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use async_trait::async_trait;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::place::{At, Place, Stat, Trouble};

/// How folders are opened below the root.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How files are opened; a pipe that has taken a file's name does not hold us up.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// What others may do with a file of ours: the bank's side, which may be another user, reads it.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// The root, and nothing that is open.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Runs a step where it may block.
    async fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Self) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let folder = self.clone();
        let done = tokio::task::spawn_blocking(move || step(&folder)).await;
        // Only a panic or the end of the process ends a step before its time.
        done.unwrap_or_else(|error| Err(Trouble::Lost(error.to_string())))
    }

    fn root(&self) -> Result<OwnedFd, Trouble> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let shown = self.root.display();
        rustix::fs::openat(CWD, &self.root, flags, Mode::empty()).map_err(|errno| trouble(errno, &shown.to_string()))
    }

    /// Opens a folder below the root, step by step.
    fn open(&self, folder: &str) -> Result<OwnedFd, Trouble> {
        steps(folder).try_fold(self.root()?, |above, step| {
            rustix::fs::openat(&above, step, FOLDER, Mode::empty()).map_err(|errno| trouble(errno, folder))
        })
    }

    fn make(&self, folder: &str) -> Result<(), Trouble> {
        steps(folder).try_fold(self.root()?, |above, step| {
            match rustix::fs::mkdirat(&above, step, Mode::from_raw_mode(FOLDER_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(trouble(errno, folder)),
            }
            rustix::fs::openat(&above, step, FOLDER, Mode::empty()).map_err(|errno| trouble(errno, folder))
        })?;
        Ok(())
    }

    fn write_file(&self, at: &Owned, bytes: &[u8]) -> Result<(), Trouble> {
        let folder = self.open(&at.folder)?;
        let flags = FILE | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mode = Mode::from_raw_mode(FILE_MODE);
        let file = rustix::fs::openat(&folder, &at.name, flags, mode).map_err(|errno| trouble(errno, &at.name))?;
        let mut file = File::from(file);
        ordinary(&file, &at.name)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| of_io(&error, &at.name))?;
        rustix::fs::fsync(&folder).map_err(|errno| trouble(errno, &at.folder))
    }

    fn rename(&self, from: &Owned, to: &Owned) -> Result<(), Trouble> {
        let (source, target) = (self.open(&from.folder)?, self.open(&to.folder)?);
        let renamed = rustix::fs::renameat_with(&source, &from.name, &target, &to.name, RenameFlags::NOREPLACE);
        match renamed {
            // Some network file systems know no rename that refuses; a link refuses everywhere.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(&source, &from.name, &target, &to.name, AtFlags::empty())
                    .map_err(|errno| trouble(errno, &to.name))?;
                // It has its name by now: what follows leaves no clear no.
                let lost = |errno: Errno| Trouble::Lost(errno.to_string());
                rustix::fs::unlinkat(&source, &from.name, AtFlags::empty()).map_err(lost)?;
            }
            done => done.map_err(|errno| trouble(errno, &to.name))?,
        }
        let kept = rustix::fs::fsync(&target).and_then(|()| rustix::fs::fsync(&source));
        kept.map_err(|errno| Trouble::Lost(format!("{} may not outlast a power cut: {errno}", to.name)))
    }

    fn copy(&self, at: &Owned, bytes: u64, mut into: File) -> Result<bool, Trouble> {
        let folder = self.open(&at.folder)?;
        let flags = FILE | OFlags::RDONLY;
        let file = rustix::fs::openat(&folder, &at.name, flags, Mode::empty());
        let file = File::from(file.map_err(|errno| trouble(errno, &at.name))?);
        ordinary(&file, &at.name)?;
        // One byte more than expected is enough to see that there is more.
        let mut source = file.take(bytes.saturating_add(1));
        let mut buffer = vec![0; COPY_BYTES];
        let mut copied = 0_u64;
        loop {
            let count = source.read(&mut buffer).map_err(|error| of_io(&error, &at.name))?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
            into.write_all(piece).map_err(|error| Trouble::Ours(error.to_string()))?;
            copied = copied.saturating_add(count as u64);
        }
        Ok(copied == bytes)
    }
}

/// Held in memory of a file that is copied.
const COPY_BYTES: usize = 256 << 10;

/// A name that can go to where steps may block.
struct Owned {
    folder: String,
    name: String,
}

impl From<At<'_>> for Owned {
    fn from(at: At<'_>) -> Self {
        Self { folder: at.folder.to_owned(), name: at.name.to_owned() }
    }
}

#[async_trait]
impl Place for Folder {
    async fn enter(&self, folder: &str) -> Result<(), Trouble> {
        let folder = folder.to_owned();
        self.step(move |place| place.open(&folder).map(drop)).await
    }

    async fn stat(&self, at: At<'_>) -> Result<Option<Stat>, Trouble> {
        let at = Owned::from(at);
        self.step(move |place| stat(&place.open(&at.folder)?, at.name.as_bytes())).await
    }

    async fn list(&self, folder: &str, most: usize) -> Result<Vec<(Vec<u8>, Stat)>, Trouble> {
        let folder = folder.to_owned();
        self.step(move |place| {
            let open = place.open(&folder)?;
            let mut seen = Vec::new();
            for entry in Dir::read_from(&open).map_err(|errno| trouble(errno, &folder))?.take(most) {
                let entry = entry.map_err(|errno| trouble(errno, &folder))?;
                let name = entry.file_name().to_bytes();
                if let Some(stat) = stat(&open, name)? {
                    seen.push((name.to_vec(), stat));
                }
            }
            Ok(seen)
        })
        .await
    }

    async fn write(&self, at: At<'_>, bytes: &[u8]) -> Result<(), Trouble> {
        let (at, bytes) = (Owned::from(at), bytes.to_vec());
        self.step(move |place| place.write_file(&at, &bytes)).await
    }

    async fn rename_new(&self, from: At<'_>, to: At<'_>) -> Result<(), Trouble> {
        let (from, to) = (Owned::from(from), Owned::from(to));
        self.step(move |place| place.rename(&from, &to)).await
    }

    async fn remove(&self, at: At<'_>) -> Result<(), Trouble> {
        let at = Owned::from(at);
        self.step(move |place| {
            let folder = place.open(&at.folder)?;
            rustix::fs::unlinkat(&folder, &at.name, AtFlags::empty()).map_err(|errno| trouble(errno, &at.name))
        })
        .await
    }

    async fn fetch(&self, at: At<'_>, bytes: u64, into: File) -> Result<bool, Trouble> {
        let at = Owned::from(at);
        self.step(move |place| place.copy(&at, bytes, into)).await
    }

    async fn make_folder(&self, folder: &str) -> Result<(), Trouble> {
        let folder = folder.to_owned();
        self.step(move |place| place.make(&folder)).await
    }
}

/// The steps of a checked path; `.` has none.
fn steps(folder: &str) -> impl Iterator<Item = &str> {
    folder.split('/').filter(|step| *step != ".")
}

fn stat(folder: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Trouble> {
    let name = std::ffi::OsStr::from_bytes(name);
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Stat {
            is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Some(stat.st_mtime),
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(trouble(errno, &name.to_string_lossy())),
    }
}

/// What was opened may have changed since it was looked at.
fn ordinary(file: &File, name: &str) -> Result<(), Trouble> {
    let is_file = file.metadata().map_err(|error| of_io(&error, name))?.is_file();
    if is_file { Ok(()) } else { Err(Trouble::No(format!("{name} is no ordinary file"))) }
}

fn of_io(error: &io::Error, name: &str) -> Trouble {
    match error.raw_os_error() {
        Some(code) => trouble(Errno::from_raw_os_error(code), name),
        None => Trouble::No(format!("{name}: {error}")),
    }
}

fn trouble(errno: Errno, name: &str) -> Trouble {
    let text = format!("{}: {errno}", name.escape_debug());
    match errno {
        Errno::NOENT | Errno::NOTDIR => Trouble::Missing(text),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Trouble::Denied(text),
        Errno::LOOP => Trouble::Denied(format!("{text} (it is a symbolic link)")),
        _ => Trouble::No(text),
    }
}

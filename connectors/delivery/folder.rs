//! A folder of this machine. Links are never followed out of it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;

use super::{Found, Place, Stat, Step, Trouble};

/// The folder.
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn open(root: &str) -> Self {
        Self { root: PathBuf::from(root) }
    }

    /// One step on a thread that may block.
    async fn step<T: Send + 'static>(
        &self,
        path: &str,
        step: impl FnOnce(&Path) -> Step<T> + Send + 'static,
    ) -> Step<T> {
        let path = self.root.join(path);
        let done = tokio::task::spawn_blocking(move || step(&path)).await;
        done.unwrap_or_else(|error| Err(Trouble::Unknown(error.to_string())))
    }
}

#[async_trait]
impl Place for Folder {
    async fn stat(&mut self, path: &str) -> Step<Option<Stat>> {
        self.step(path, |path| match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(stat(&found))),
            Err(error) if error.kind() == ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir) => Ok(None),
            Err(error) => Err(trouble(path, &error)),
        })
        .await
    }

    async fn list(&mut self, folder: &str, most: usize) -> Step<Vec<Found>> {
        self.step(folder, move |path| {
            let entries = fs::read_dir(path).map_err(|error| trouble(path, &error))?;
            let mut found = Vec::new();
            for entry in entries.take(most) {
                let entry = entry.map_err(|error| trouble(path, &error))?;
                // Taken away between listing and looking.
                let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
                found.push(Found { name: entry.file_name().to_string_lossy().into_owned(), stat: stat(&metadata) });
            }
            Ok(found)
        })
        .await
    }

    async fn write(&mut self, path: &str, bytes: &[u8]) -> Step<()> {
        let bytes = bytes.to_vec();
        self.step(path, move |path| {
            let written = (|| {
                // What is left of an earlier try goes; whatever has the name is never written through.
                match fs::remove_file(path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            })();
            written.map_err(|error| trouble(path, &error))
        })
        .await
    }

    async fn rename(&mut self, from: &str, to: &str) -> Step<()> {
        let to = self.root.join(to);
        self.step(from, move |from| {
            // A link fails where the name is taken; a rename would replace what has it.
            match fs::hard_link(from, &to) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(Trouble::Exists),
                Err(error) => return Err(trouble(&to, &error)),
            }
            fs::remove_file(from).map_err(|error| Trouble::Unknown(format!("{}: {error}", from.display())))?;
            if let Some(folder) = to.parent() {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|error| Trouble::Unknown(format!("{}: {error}", folder.display())))?;
            }
            Ok(())
        })
        .await
    }

    async fn remove(&mut self, path: &str) -> Step<()> {
        self.step(path, |path| fs::remove_file(path).map_err(|error| trouble(path, &error))).await
    }

    async fn fetch(&mut self, path: &str, most: u64) -> Step<File> {
        self.step(path, move |path| {
            let fetched = (|| {
                let mut options = OpenOptions::new();
                options.read(true);
                #[cfg(unix)]
                {
                    use std::os::unix::fs::OpenOptionsExt as _;
                    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
                }
                let from = options.open(path)?;
                if !from.metadata()?.is_file() {
                    return Err(io::Error::other("it is no file any more"));
                }
                let mut into = tempfile::tempfile()?;
                io::copy(&mut from.take(most.saturating_add(1)), &mut into)?;
                into.seek(SeekFrom::Start(0))?;
                Ok(into)
            })();
            fetched.map_err(|error| trouble(path, &error))
        })
        .await
    }

    async fn make_folder(&mut self, path: &str) -> Step<()> {
        self.step(path, |path| fs::create_dir_all(path).map_err(|error| trouble(path, &error))).await
    }
}

fn stat(found: &fs::Metadata) -> Stat {
    let modified = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_secs()).ok());
    Stat { bytes: found.len(), modified, is_file: found.file_type().is_file() }
}

fn trouble(path: &Path, error: &io::Error) -> Trouble {
    let name = path.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().escape_debug().to_string();
    let text = format!("{name}: {error}");
    match error.kind() {
        ErrorKind::NotFound => Trouble::Wrong("folder_missing", format!("{} does not exist", path.display())),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Trouble::Wrong("permission_denied", text),
        _ => Trouble::Away(text),
    }
}

//! An SFTP server as a place where files lie: one connection for one call, to a server whose key we know.
//! Deliberately not here: the rules of delivery, the connecting (`connect.rs`), and renames that overwrite.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use russh::client::Handle;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use super::connect::Greeter;
use super::place::{At, Place, Stat, Trouble};

/// Bytes in one request; every server takes this many.
const PIECE_BYTES: usize = 32 << 10;
/// Requests under way at once, so that a far server does not make a file slow.
const PIECES_AHEAD: usize = 16;
/// Most answers that are needed to get one piece; a server may give less than was asked for.
const PIECE_ANSWERS_MAX: usize = 64;
/// The file type among the permissions.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;

/// A connection that is ready for files.
pub(super) struct Session {
    pub handle: Handle<Greeter>,
    pub sftp: RawSftpSession,
    /// Whether the server can make a file last.
    pub fsync: bool,
    pub root: String,
    pub timeout: Duration,
}

impl Session {
    fn path(&self, at: At<'_>) -> String {
        format!("{}/{}/{}", self.root, at.folder, at.name)
    }

    fn folder(&self, folder: &str) -> String {
        format!("{}/{folder}", self.root)
    }

    async fn open(&self, path: &str, flags: OpenFlags) -> Result<String, Trouble> {
        let opened = self.sftp.open(path, flags, FileAttributes::empty()).await;
        Ok(opened.map_err(|error| trouble(error, path))?.handle)
    }

    /// Writes all pieces and waits until each is confirmed.
    async fn upload(&self, handle: &str, bytes: &[u8]) -> Result<(), Error> {
        let offsets = stream::iter((0..bytes.len()).step_by(PIECE_BYTES));
        let written = offsets.map(|offset| {
            let piece = bytes.iter().skip(offset).take(PIECE_BYTES).copied().collect();
            self.sftp.write(handle, offset as u64, piece)
        });
        written.buffered(PIECES_AHEAD).try_for_each(|_| async { Ok(()) }).await?;
        if self.fsync {
            self.sftp.fsync(handle).await?;
        }
        Ok(())
    }

    /// Reads one piece; shorter than asked for only where the file ends.
    async fn piece(&self, handle: &str, offset: u64, bytes: u64) -> Result<Vec<u8>, Error> {
        let mut piece = Vec::new();
        for _ in 0..PIECE_ANSWERS_MAX {
            let had = piece.len() as u64;
            let Ok(missing) = u32::try_from(bytes.saturating_sub(had)) else { break };
            if missing == 0 {
                break;
            }
            match self.sftp.read(handle, offset.saturating_add(had), missing).await {
                Ok(answer) if answer.data.is_empty() => break,
                Ok(answer) => piece.extend_from_slice(&answer.data),
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(piece)
    }

    /// Reads a file piece by piece, some ahead of the one that is kept.
    async fn download(&self, handle: &str, path: &str, bytes: u64, mut into: File) -> Result<bool, Trouble> {
        let size = PIECE_BYTES as u64;
        let offsets = (0..bytes.div_ceil(size)).map(|piece| piece.saturating_mul(size));
        let pieces = stream::iter(offsets).map(|offset| {
            let asked = size.min(bytes.saturating_sub(offset));
            async move { Ok::<_, Error>((asked, self.piece(handle, offset, asked).await?)) }
        });
        let mut pieces = std::pin::pin!(pieces.buffered(PIECES_AHEAD));
        while let Some((asked, piece)) = pieces.try_next().await.map_err(|error| trouble(error, path))? {
            if piece.len() as u64 != asked {
                return Ok(false);
            }
            into = keep(into, piece).await?;
        }
        Ok(true)
    }
}

/// Writes a piece to our own disk, where that may block.
async fn keep(mut into: File, piece: Vec<u8>) -> Result<File, Trouble> {
    let kept = tokio::task::spawn_blocking(move || into.write_all(&piece).map(|()| into)).await;
    kept.map_err(|error| Trouble::Ours(error.to_string()))?.map_err(|error| Trouble::Ours(error.to_string()))
}

#[async_trait]
impl Place for Session {
    async fn enter(&self, folder: &str) -> Result<(), Trouble> {
        let path = self.folder(folder);
        // A bank may well make its folders links; that is its own affair.
        let found = self.sftp.stat(path.as_str()).await.map_err(|error| trouble(error, &path))?.attrs;
        let is_folder = found.permissions.is_none() || found.is_dir();
        if is_folder { Ok(()) } else { Err(Trouble::Missing(format!("{path} is no folder"))) }
    }

    async fn stat(&self, at: At<'_>) -> Result<Option<Stat>, Trouble> {
        let path = self.path(at);
        match self.sftp.lstat(path.as_str()).await {
            Ok(found) => Ok(Some(stat(&found.attrs))),
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(trouble(error, &path)),
        }
    }

    async fn list(&self, folder: &str, most: usize) -> Result<Vec<(Vec<u8>, Stat)>, Trouble> {
        let path = self.folder(folder);
        let said = |error| trouble(error, &path);
        let handle = self.sftp.opendir(path.as_str()).await.map_err(said)?.handle;
        let mut seen = Vec::new();
        while seen.len() < most {
            let names = match self.sftp.readdir(handle.as_str()).await {
                Ok(names) if names.files.is_empty() => break,
                Ok(names) => names.files,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(said(error)),
            };
            seen.extend(names.into_iter().map(|file| (file.filename.into_bytes(), stat(&file.attrs))));
        }
        seen.truncate(most);
        self.sftp.close(handle).await.map_err(said)?;
        Ok(seen)
    }

    async fn write(&self, at: At<'_>, bytes: &[u8]) -> Result<(), Trouble> {
        let path = self.path(at);
        let handle = self.open(&path, OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE).await?;
        let written = self.upload(&handle, bytes).await;
        let closed = self.sftp.close(handle).await.map(drop);
        written.and(closed).map_err(|error| trouble(error, &path))
    }

    async fn rename_new(&self, from: At<'_>, to: At<'_>) -> Result<(), Trouble> {
        let (from, to) = (self.path(from), self.path(to));
        if self.handle.is_closed() {
            return Err(Trouble::Unsent("the connection ended before the file got its name".to_owned()));
        }
        self.sftp.rename(from, to.as_str()).await.map(drop).map_err(|error| trouble(error, &to))
    }

    async fn remove(&self, at: At<'_>) -> Result<(), Trouble> {
        let path = self.path(at);
        self.sftp.remove(path.as_str()).await.map(drop).map_err(|error| trouble(error, &path))
    }

    async fn fetch(&self, at: At<'_>, bytes: u64, into: File) -> Result<bool, Trouble> {
        let path = self.path(at);
        let handle = self.open(&path, OpenFlags::READ).await?;
        let fetched = self.download(&handle, &path, bytes, into).await;
        let closed = self.sftp.close(handle).await.map_err(|error| trouble(error, &path));
        let whole = fetched?;
        closed.map(|_| whole)
    }

    async fn make_folder(&self, folder: &str) -> Result<(), Trouble> {
        for (end, _) in folder.match_indices('/').chain([(folder.len(), "")]) {
            let above = folder.get(..end).unwrap_or(folder);
            if let Err(trouble @ Trouble::Missing(_)) = self.enter(above).await {
                let made = self.sftp.mkdir(self.folder(above), FileAttributes::empty()).await;
                // Whoever made it meanwhile has done the same.
                if made.is_err() && self.enter(above).await.is_err() {
                    return Err(trouble);
                }
            }
        }
        Ok(())
    }

    async fn close(&self) {
        // All that mattered was answered by now.
        let goodbye = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let _ = tokio::time::timeout(self.timeout, goodbye).await;
    }
}

fn stat(attrs: &FileAttributes) -> Stat {
    Stat {
        // A server that does not tell types is believed; opening anything but a file fails.
        is_file: attrs.permissions.is_none_or(|bits| bits & TYPE_BITS == TYPE_FILE),
        bytes: attrs.size.unwrap_or(0),
        modified: attrs.mtime.map(i64::from),
    }
}

fn trouble(error: Error, path: &str) -> Trouble {
    let text = format!("{}: {error}", path.escape_debug());
    match error {
        Error::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => Trouble::Missing(text),
            StatusCode::PermissionDenied => Trouble::Denied(text),
            StatusCode::NoConnection | StatusCode::ConnectionLost | StatusCode::Ok => Trouble::Lost(text),
            StatusCode::Eof | StatusCode::Failure | StatusCode::BadMessage | StatusCode::OpUnsupported => {
                Trouble::No(text)
            }
        },
        Error::IO(_) | Error::Timeout | Error::Limited(_) | Error::UnexpectedPacket | Error::UnexpectedBehavior(_) => {
            Trouble::Lost(text)
        }
    }
}

//! A payroll file on its way in: streamed to disk, bounded in size and in silence, and removed whatever happens.
//! Deliberately not here: what the file holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use futures_util::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::error::{Answer, Error};
use super::input::{cut_off, fits, too_large, too_slow};
use crate::store::seal::hex;

/// Longest silence in the middle of a body.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes collected before they are written.
const WRITE_BYTES: usize = 1 << 20;
/// Longest text field of a form.
const TEXT_BYTES_MAX: usize = 1_024;
/// Most fields of a form.
const FIELDS_MAX: usize = 10;
/// Most bytes of a form that are in memory: between two fields nothing else bounds them.
const HELD_BYTES_MAX: usize = 4 << 20;
/// What a form may have beside its file.
const FORM_BYTES_MAX: u64 = 64 << 10;
/// A left-over file this old has no request any more.
const LEFT_OVER_MICROS: u128 = 3_600_000_000;
/// How names of uploads begin and end.
const NAME: (&str, &str) = ("upload-", ".part");

/// A file that is removed when nobody needs it any more, also when its request is dropped half-way.
#[derive(Debug)]
pub struct Spooled(PathBuf);

impl Spooled {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "an upload could not be removed");
        }
    }
}

/// A file that is being written.
struct Spool {
    spooled: Spooled,
    file: BufWriter<File>,
    bytes: u64,
    bytes_max: u64,
}

impl Spool {
    async fn open(folder: &Path, bytes_max: u64) -> anyhow::Result<Self> {
        let path = folder.join(format!("{}{}{}", NAME.0, hex(&crate::clock::random::<16>()?), NAME.1));
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await.with_context(|| format!("cannot write in {}", folder.display()))?;
        let file = BufWriter::with_capacity(WRITE_BYTES, file);
        Ok(Self { spooled: Spooled(path), file, bytes: 0, bytes_max })
    }

    async fn write(&mut self, chunk: &[u8]) -> Answer<()> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        self.file.write_all(chunk).await.context("writing an upload")?;
        Ok(())
    }

    async fn close(mut self) -> Answer<Spooled> {
        self.file.flush().await.context("writing an upload")?;
        Ok(self.spooled)
    }
}

/// The whole body as a file.
pub async fn body(folder: &Path, bytes_max: u64, parts: &Parts, body: Body) -> Answer<Spooled> {
    fits(&parts.headers, bytes_max)?;
    let mut spool = Spool::open(folder, bytes_max).await?;
    let mut stream = body.into_data_stream();
    while let Some(chunk) = in_time(stream.next()).await? {
        spool.write(&chunk.map_err(|_| cut_off())?).await?;
    }
    spool.close().await
}

/// The fields of a form, its file among them.
#[derive(Debug)]
pub struct Form {
    /// Names and texts, each once.
    pub texts: Vec<(String, String)>,
    /// The field `file`.
    pub file: Spooled,
}

/// A form of texts and one file, in any order.
pub async fn form(folder: &Path, bytes_max: u64, parts: Parts, body: Body) -> Answer<Form> {
    fits(&parts.headers, bytes_max.saturating_add(FORM_BYTES_MAX))?;
    let (body, held) = held(body);
    let mut form = Multipart::from_request(Request::from_parts(parts, body), &())
        .await
        .map_err(|rejection| Error::malformed("form_malformed", rejection.body_text()))?;
    let (mut texts, mut file) = (Vec::<(String, String)>::new(), None);
    for _ in 0..=FIELDS_MAX {
        held.store(0, Ordering::Relaxed);
        let Some(field) = in_time(form.next_field()).await?.map_err(unreadable)? else {
            let file = file.ok_or_else(|| Error::malformed("form_malformed", "the field `file` is missing"))?;
            return Ok(Form { texts, file });
        };
        let name = field.name().unwrap_or("").to_owned();
        if texts.iter().any(|(known, _)| *known == name) || (name == "file" && file.is_some()) {
            return Err(Error::malformed("form_malformed", format!("the field `{name}` is there twice")));
        }
        if name == "file" {
            file = Some(file_field(field, Spool::open(folder, bytes_max).await?, &held).await?);
        } else {
            texts.push((name, text_field(field).await?));
        }
    }
    Err(Error::malformed("form_malformed", format!("a form has at most {FIELDS_MAX} fields")))
}

async fn file_field(mut field: Field<'_>, mut spool: Spool, held: &AtomicUsize) -> Answer<Spooled> {
    while let Some(chunk) = in_time(field.chunk()).await?.map_err(unreadable)? {
        held.store(0, Ordering::Relaxed);
        spool.write(&chunk).await?;
    }
    spool.close().await
}

async fn text_field(mut field: Field<'_>) -> Answer<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = in_time(field.chunk()).await?.map_err(unreadable)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > TEXT_BYTES_MAX {
            return Err(too_large(TEXT_BYTES_MAX as u64));
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::malformed("form_malformed", "a text field is not UTF-8"))
}

/// The body, failing when more of it waits in memory than a form needs. Whoever takes some out says so.
fn held(body: Body) -> (Body, Arc<AtomicUsize>) {
    let held = Arc::new(AtomicUsize::new(0));
    let counted = held.clone();
    let stream = body.into_data_stream().map(move |chunk| -> Result<Bytes, axum::BoxError> {
        let chunk = chunk?;
        if counted.fetch_add(chunk.len(), Ordering::Relaxed) > HELD_BYTES_MAX {
            return Err("a form has too much outside its fields".into());
        }
        Ok(chunk)
    });
    (Body::from_stream(stream), held)
}

async fn in_time<T>(next: impl Future<Output = T>) -> Answer<T> {
    tokio::time::timeout(SILENCE_MAX, next).await.map_err(|_| too_slow())
}

fn unreadable(error: MultipartError) -> Error {
    let detail = "the form cannot be read, or it ended before it was whole; nothing was done";
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::debug!(error = error.body_text(), "a form could not be read");
    }
    Error::malformed("form_malformed", detail)
}

/// Removes what requests left behind when the machine went down in the middle of them.
pub fn clear(folder: &Path, now: i64) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        let written = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        let written = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok());
        let now = u128::try_from(now).unwrap_or(0);
        if ours && written.is_some_and(|written| written.as_micros() + LEFT_OVER_MICROS < now) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

//! The bank's folders: `in` with `done` below it, `out`, and the desk, where files for the customer are written and
//! wait. Deliberately not here: what is in them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Names of files that are not complete, and of marks beside files.
const IGNORED_ENDINGS: [&str; 4] = [".part", ".tmp", ".done", ".ok"];
/// The ending of payment files.
const TAKEN_ENDING: &str = ".xml";
/// Most files that are taken at once.
const FILES_MAX: usize = 10_000;

pub(super) struct Desk {
    incoming: PathBuf,
    done: PathBuf,
    out: PathBuf,
    desk: PathBuf,
}

impl Desk {
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let incoming = root.join("in");
        let desk = Self { done: incoming.join("done"), incoming, out: root.join("out"), desk: root.join(".desk") };
        for folder in [&desk.incoming, &desk.done, &desk.out, &desk.desk] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(desk)
    }

    /// Files that can be taken, in the order of their names.
    pub(super) fn waiting(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let small = name.to_ascii_lowercase();
            let is_ignored = name.starts_with('.') || IGNORED_ENDINGS.iter().any(|ending| small.ends_with(ending));
            if !is_ignored && small.ends_with(TAKEN_ENDING) && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.truncate(FILES_MAX);
        Ok(names)
    }

    pub(super) fn incoming(&self, name: &str) -> PathBuf {
        self.incoming.join(name)
    }

    pub(super) fn done(&self, name: &str) -> PathBuf {
        self.done.join(name)
    }

    /// A name under which nothing was put away yet.
    pub(super) fn free_name(&self, name: &str) -> String {
        let names = std::iter::once(name.to_owned()).chain((2_u32..).map(|copy| format!("{copy}-{name}")));
        let mut free = names.filter(|name| !self.done.join(name).exists());
        free.next().unwrap_or_else(|| name.to_owned())
    }

    /// Writes a file that waits on the desk.
    pub(super) fn write(
        &self,
        name: &str,
        write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>,
    ) -> anyhow::Result<()> {
        let path = self.desk.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = write(BufWriter::new(file))?;
        file.flush()?;
        Ok(file.get_ref().sync_data()?)
    }

    /// A second file with the same content.
    pub(super) fn copy(&self, name: &str, copy: &str) -> anyhow::Result<()> {
        fs::copy(self.desk.join(name), self.desk.join(copy))?;
        Ok(())
    }

    /// Brings a file from the desk out. When it is out already, nothing is to be done.
    pub(super) fn put(&self, name: &str) -> io::Result<()> {
        let part = self.out.join(format!(".{name}.part"));
        move_if_there(&self.desk.join(name), &part)?;
        move_if_there(&part, &self.out.join(name))
    }

    /// Puts a customer's file away. When it is gone already, nothing is to be done.
    pub(super) fn put_away(&self, name: &str, done: &str) -> anyhow::Result<()> {
        move_if_there(&self.incoming.join(name), &self.done.join(done))
            .with_context(|| format!("{name} cannot be put away"))
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A name with only letters, digits and a few marks, not too long.
pub(super) fn safe(name: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().take(SAFE_CHARS_MAX).map(|c| if known(c) { c } else { '_' }).collect()
}

/// Longest part of a name that comes from the customer.
const SAFE_CHARS_MAX: usize = 80;

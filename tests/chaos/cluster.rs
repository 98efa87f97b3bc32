//! A PostgreSQL of the test's own, so that it may be restarted. Reached by a socket in its folder: no port to find.
//! What it has acknowledged it keeps through a crash, so nothing of it is turned off.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The cluster. It stops when it is dropped; its folder is the test's.
pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    /// PostgreSQL refuses to run as root; then it runs as this user and group.
    runs_as: Option<(u32, u32)>,
}

impl Cluster {
    /// Makes and starts one in a folder below `parent`.
    pub fn start(parent: &Path) -> Self {
        let folder = parent.join("pg");
        std::fs::create_dir(&folder).unwrap();
        let is_root = asked("id", &["-u"]) == "0";
        let cluster = Self { bin: found(), folder, runs_as: is_root.then(user) };
        if let Some((user, group)) = cluster.runs_as {
            std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o755)).unwrap();
            chown(&cluster.folder, Some(user), Some(group)).unwrap();
        }
        let made = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C"];
        assert!(cluster.command("initdb").args(made).status().unwrap().success(), "initdb failed");
        assert!(cluster.started(), "PostgreSQL does not start: {}", cluster.said());
        cluster
    }

    /// The socket that it listens at.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = match self.runs_as {
            None => Command::new(self.bin.join(program)),
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
                command.arg(self.bin.join(program));
                command
            }
        };
        command.current_dir("/").arg("-D").arg(self.folder.join("db"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// True once it takes connections.
    fn started(&self) -> bool {
        self.ctl("start", &[])
    }

    /// `immediate` is a crash; `fast` ends every session. It takes connections again when this returns.
    pub fn restart(&self, mode: &str) {
        let restarted = self.ctl("restart", &["-m", mode]);
        assert!(restarted || self.started(), "PostgreSQL does not come back: {}", self.said());
    }

    fn ctl(&self, verb: &str, more: &[&str]) -> bool {
        let options = format!("-c listen_addresses= -k {} -c max_connections=200", self.folder.display());
        let mut command = self.command("pg_ctl");
        command.arg("-l").arg(self.folder.join("log")).args(["-w", "-t", "120", "-o", &options]);
        command.args(more).arg(verb).status().unwrap().success()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl").args(["-m", "immediate", "stop"]).status();
    }
}

/// The folder of the newest PostgreSQL's programs, looked for as `tests/run` does.
fn found() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut bins: Vec<PathBuf> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    bins.sort_by_key(|bin| {
        let version = bin.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        version.and_then(|version| version.parse::<u32>().ok())
    });
    let path = std::env::var_os("PATH").unwrap_or_default();
    bins.splice(0..0, std::env::split_paths(&path));
    if let Ok(told) = Command::new("pg_config").arg("--bindir").output() {
        bins.insert(0, PathBuf::from(String::from_utf8_lossy(&told.stdout).trim()));
    }
    let has_both = |bin: &PathBuf| ["initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
    let newest = bins.into_iter().rev().find(has_both);
    newest.unwrap_or_else(|| panic!("no PostgreSQL to run: tests/run installs it"))
}

fn user() -> (u32, u32) {
    let number = |flag| asked("id", &[flag, "postgres"]).parse();
    number("-u").ok().zip(number("-g").ok()).unwrap_or_else(|| panic!("no user postgres to run as: see tests/run"))
}

fn asked(program: &str, arguments: &[&str]) -> String {
    let told = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8_lossy(&told.stdout).trim().to_owned()
}

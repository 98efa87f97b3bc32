//! A real SFTP server before a folder: Debian's sshd with keys made for the occasion, on a loopback port of its own.
//! Deliberately not here: what the folder is for.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Where Debian puts it.
const SSHD: &str = "/usr/sbin/sshd";
/// Longest wait until it listens.
const START_MAX: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server; it ends when this is dropped.
pub struct Sshd {
    child: Child,
    keys: PathBuf,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Its public key, as OpenSSH writes it.
    pub host_key: String,
    /// Who may come in.
    pub user: String,
    /// The key to come in with, as OpenSSH writes it.
    pub private_key: String,
}

impl Sshd {
    /// Starts a server that shows `root` as the folder where everybody begins. Its keys lie in `keys`, and are used
    /// again by the next one.
    pub fn start(root: &Path, keys: &Path) -> Result<Self> {
        ensure!(Path::new(SSHD).exists(), "{SSHD} is missing: install Debian's openssh-server");
        fs::create_dir_all(keys)?;
        for name in ["host", "user"] {
            make_key(&keys.join(name))?;
        }
        // What OpenSSH wants to be there before it starts as root.
        let _ = fs::create_dir_all("/run/sshd");
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let user = current_user()?;
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n\
             Subsystem sftp internal-sftp\nForceCommand internal-sftp -d {root}\n",
            keys = keys.display(),
            root = root.display()
        );
        let config_file = keys.join("sshd_config");
        fs::write(&config_file, config)?;
        let log = fs::File::create(keys.join("sshd.log"))?;
        let mut command = Command::new(SSHD);
        command.arg("-D").arg("-e").arg("-f").arg(&config_file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("sshd")?;
        let read = |name: &str| fs::read_to_string(keys.join(name)).with_context(|| format!("the key {name}"));
        let (host_key, private_key) = (read("host.pub")?, read("user")?);
        let mut server = Self { child, keys: keys.to_owned(), port, host_key, user, private_key };
        server.listens()?;
        Ok(server)
    }

    fn listens(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.try_wait()?.is_some();
            let told = || fs::read_to_string(self.keys.join("sshd.log")).unwrap_or_default();
            ensure!(!ended && began.elapsed() < START_MAX, "sshd does not start: {}", told());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// The settings of a delivery to this server.
    pub fn delivery(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": "sftp", "host": "127.0.0.1", "port": self.port, "user": self.user, "host_key": self.host_key,
            "private_key": self.private_key,
        })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn make_key(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f"]).arg(path);
    ensure!(command.status().context("ssh-keygen is missing: install openssh-client")?.success(), "ssh-keygen failed");
    Ok(())
}

fn current_user() -> Result<String> {
    let told = Command::new("id").arg("-un").output().context("who runs this")?;
    Ok(String::from_utf8(told.stdout)?.trim().to_owned())
}

//! An SFTP server for tests and demonstrations: OpenSSH itself, on a free port of the loopback address, for the
//! current user and one key made for it.
//! Deliberately not here: a server of our own making; a bank's is not ours either.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Where Debian and others put the server.
const PLACES: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// Most ports that are tried; another program may take one between our finding it and the server's binding it.
const PORTS_MAX: usize = 5;
/// Lets those who failed to log in try again at once.
const LENIENT: &str = "PerSourcePenalties=no";
/// Most lines that are read until the server listens.
const LINES_MAX: usize = 100;

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens, at 127.0.0.1.
    pub port: u16,
    /// Its public key, as `host_key` wants it.
    pub host_key: String,
    /// Who may log in: whoever runs this.
    pub user: String,
    /// The key that is let in, as text.
    pub private_key: String,
    server: Child,
    _folder: tempfile::TempDir,
}

impl Sshd {
    /// Starts a server where one lands in `root`.
    pub fn start(root: &Path) -> anyhow::Result<Self> {
        Self::start_as(root, "", "ed25519")
    }

    /// Starts a server whose key, and whose user's key, is of the older kind that many banks have.
    pub fn start_rsa(root: &Path) -> anyhow::Result<Self> {
        Self::start_as(root, "", "rsa")
    }

    /// Starts a server where nothing can be written.
    pub fn start_read_only(root: &Path) -> anyhow::Result<Self> {
        Self::start_as(root, "-R ", "ed25519")
    }

    fn start_as(root: &Path, flags: &str, key: &str) -> anyhow::Result<Self> {
        let program = PLACES.iter().map(PathBuf::from).find(|place| place.exists());
        let program = program.context("there is no sshd on this machine: install openssh-server")?;
        let root = root.to_str().context("the root must be text")?;
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        for name in ["host", "client"] {
            make_key(&at(name), key)?;
        }
        fs::copy(at("client.pub"), at("authorized_keys"))?;
        let user = said(Command::new("id").arg("-un"))?;
        if user == "root" {
            // Where the server, run by root, puts those who have not logged in yet.
            fs::create_dir_all("/run/sshd").context("making /run/sshd")?;
        }
        let mut words = String::new();
        for _ in 0..PORTS_MAX {
            let port = free_port()?;
            let settings = settings(folder.path(), port, &format!("internal-sftp {flags}-d {root}"));
            fs::write(at("sshd_config"), settings)?;
            match listening(&program, &at("sshd_config"))? {
                Ok(server) => {
                    let host_key = fs::read_to_string(at("host.pub"))?.trim().to_owned();
                    let private_key = fs::read_to_string(at("client"))?;
                    return Ok(Self { port, host_key, user, private_key, server, _folder: folder });
                }
                Err(last_words) => words = last_words,
            }
        }
        bail!("sshd did not start to listen on any of {PORTS_MAX} ports: {words}")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Failing means that it has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn settings(folder: &Path, port: u16, command: &str) -> String {
    let folder = folder.display();
    format!(
        "MaxStartups 100:30:200\nListenAddress 127.0.0.1\nPort {port}\nPidFile none\nLogLevel INFO\n\
         HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n\
         UsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         Subsystem sftp internal-sftp\nForceCommand {command}\n"
    )
}

/// Starts the server and waits until it says that it listens; its last words when it ends instead.
fn listening(program: &Path, settings: &Path) -> anyhow::Result<Result<Child, String>> {
    let mut command = Command::new(program);
    command.arg("-f").arg(settings);
    // Since 9.8 a server keeps off for a while who fails to log in, and tests fail on purpose; before, it does not
    // know the setting.
    let known = Command::new(program).args(["-t", "-o", LENIENT, "-f"]).arg(settings).output()?.status.success();
    if known {
        command.args(["-o", LENIENT]);
    }
    command.args(["-D", "-e"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut server = command.spawn().context("starting sshd")?;
    let mut lines = BufReader::new(server.stderr.take().context("sshd has no error output")?).lines();
    let mut last = String::new();
    for line in lines.by_ref().take(LINES_MAX).map_while(Result::ok) {
        if line.contains("Server listening on") {
            // Its further words go nowhere, and somebody has to hear them or it would stop.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            return Ok(Ok(server));
        }
        last = line;
    }
    let _ = server.kill();
    server.wait()?;
    Ok(Err(last))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn make_key(path: &Path, kind: &str) -> anyhow::Result<()> {
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(path).status();
    if made.context("starting ssh-keygen: install openssh-client")?.success() {
        return Ok(());
    }
    bail!("ssh-keygen made no key")
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    Ok(String::from_utf8(command.output()?.stdout)?.trim().to_owned())
}

//! Database servers of this machine, unprivileged, on a scratch folder, with TLS.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{child::Child, deadline, tool};

const LIMIT: Duration = Duration::from_secs(60);
/// `nobody`: these servers refuse to be root.
pub(crate) const UNPRIVILEGED: u32 = 65_534;

/// A running server; it ends when dropped.
pub struct Database {
    process: Child,
    /// What it needs beside it.
    pub(crate) beside: Option<Child>,
    folder: TempDir,
    /// The TCP port of 127.0.0.1.
    pub port: u16,
}

impl Database {
    /// PostgreSQL, user `joe` with the password `secret`.
    pub fn postgresql() -> Result<Self> {
        Self::postgresql_by("scram-sha-256")
    }

    /// The same, by another method of authentication.
    pub fn postgresql_by(method: &str) -> Result<Self> {
        let folder = scratch()?;
        let binary = |name: &str| Path::new("/usr/lib/postgresql/15/bin").join(name);
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        fs::write(&password, "secret\n")?;
        let mut command = unprivileged(binary("initdb"));
        command.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        command.args(["-U", "joe", "-A", method, "--no-sync", "--no-locale", "-E", "UTF8"]);
        tool::run(command)?;
        let port = free_port()?;
        let mut command = unprivileged(binary("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k", ""]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"]);
        for (option, name) in [("ssl_cert_file", "certificate.pem"), ("ssl_key_file", "key.pem")] {
            let path = folder.path().join(name);
            command.arg("-c").arg(format!("{option}={}", path.display()));
        }
        Self::start(command, folder, port)
    }

    /// MariaDB, user `joe` with the password `secret`, a database `shop`. A user `clear` sends a
    /// password as it is, and is refused.
    pub fn mariadb() -> Result<Self> {
        let folder = scratch()?;
        let data = format!("--datadir={}", folder.path().join("data").display());
        let mut command = unprivileged(tool::find("mariadb-install-db")?);
        command.args(["--no-defaults", "--auth-root-authentication-method=normal", &data]);
        tool::run(command)?;
        let users = folder.path().join("users.sql");
        fs::write(
            &users,
            "create database shop;\ncreate user joe@localhost identified by 'secret' require ssl;\n\
             grant all on shop.* to joe@localhost;\n\
             create user clear@localhost identified via pam using 'tlstap';\n",
        )?;
        let port = free_port()?;
        let mut command = unprivileged(tool::find("mariadbd")?);
        command.args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-log-bin", &data]);
        command.args(["--plugin-load-add=auth_pam_v1", "--pam-use-cleartext-plugin"]);
        command.arg(format!("--port={port}")).arg(format!("--init-file={}", users.display()));
        for (option, name) in
            [("socket", "socket"), ("ssl-cert", "certificate.pem"), ("ssl-key", "key.pem")]
        {
            command.arg(format!("--{option}={}", folder.path().join(name).display()));
        }
        Self::start(command, folder, port)
    }

    /// Redis, TLS only.
    pub fn redis() -> Result<Self> {
        let folder = scratch()?;
        let port = free_port()?;
        let mut command = unprivileged(tool::find("redis-server")?);
        command.args(["--bind", "127.0.0.1", "--port", "0", "--save", ""]);
        command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        command.args(["--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem"]);
        command.args(["--tls-ca-cert-file", "certificate.pem"]).current_dir(folder.path());
        Self::start(command, folder, port)
    }

    /// A server of our own of MongoDB's protocol, user `joe` with the password `secret`.
    pub fn mongodb() -> Result<Self> {
        let folder = scratch()?;
        let port = free_port()?;
        // Debian's package is of Debian's Python.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(tool::fixtures().join("mongodb.py")).arg(port.to_string());
        command.args(["certificate.pem", "key.pem"].map(|name| folder.path().join(name)));
        Self::start(command, folder, port)
    }

    pub(crate) fn start(command: Command, folder: TempDir, port: u16) -> Result<Self> {
        Ok(Self { process: listening(command, port)?, beside: None, folder, port })
    }

    /// Its process id; PostgreSQL's connections have processes of their own.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // PostgreSQL waits for its clients at the second, MariaDB ignores the first.
        for signal in [Signal::INT, Signal::TERM] {
            let _ = self.process.signal(signal);
        }
        let _ = self.process.finish(LIMIT);
        if let Some(mut beside) = self.beside.take() {
            let _ = beside.signal(Signal::TERM);
            let _ = beside.finish(LIMIT);
        }
    }
}

/// Starts a server, and waits until its port is open.
pub(crate) fn listening(command: Command, port: u16) -> Result<Child> {
    let process = Child::start(command)?;
    let reached = || Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop));
    deadline::until("a server's port", LIMIT, reached)
        .with_context(|| process.stderr.lines().join("\n"))?;
    Ok(process)
}

/// A folder of the unprivileged user with a certificate.
pub fn scratch() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("tlstap-database-").tempdir()?;
    chown(folder.path(), Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    for path in certificate(folder.path())? {
        chown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
    }
    Ok(folder)
}

/// Makes a key and a certificate for it in a folder: `key.pem` and `certificate.pem`.
pub fn certificate(folder: &Path) -> Result<[PathBuf; 2]> {
    let paths = ["key.pem", "certificate.pem"].map(|name| folder.join(name));
    let mut command = tool::command("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes"])?;
    command.args(["-days", "2", "-subj", "/CN=localhost", "-keyout"]).arg(&paths[0]);
    command.arg("-out").arg(&paths[1]);
    tool::run(command)?;
    Ok(paths)
}

pub(crate) fn unprivileged(binary: PathBuf) -> Command {
    let mut command = Command::new("setpriv");
    let id = UNPRIVILEGED.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(binary);
    command.current_dir("/");
    command
}

/// A TCP port of 127.0.0.1 that nobody uses.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

//! Web servers of this machine, each a process, on a port of 127.0.0.1, with TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{child::Child, database, tool};

/// Files that nginx and nghttpd serve, with their texts.
const FILES: [(&str, &str); 3] =
    [("hello", "hello from a file\n"), ("index.html", "hello from a file\n"), ("empty", "")];

/// A running server; it ends when dropped.
pub struct Server {
    process: Child,
    folder: TempDir,
    /// The TCP port of 127.0.0.1.
    pub port: u16,
}

impl Server {
    /// nginx, with files that can be written too.
    pub fn nginx() -> Result<Self> {
        Self::nginx_by(tool::command("nginx", [""; 0])?)
    }

    /// The same, by a program that executes its last arguments.
    pub fn nginx_through(program: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg(tool::find("nginx")?);
        Self::nginx_by(command)
    }

    fn nginx_by(mut command: Command) -> Result<Self> {
        let (folder, port) = place()?;
        let configuration = format!(
            "daemon off; master_process off; pid pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n\
               access_log off; client_body_temp_path body; root files;\n\
               server {{\n\
                 listen 127.0.0.1:{port} ssl http2;\n\
                 ssl_certificate certificate.pem; ssl_certificate_key key.pem;\n\
                 keepalive_requests 100000;\n\
                 dav_methods PUT DELETE;\n\
                 location = /number {{ return 200 \"$arg_n\\n\"; }}\n\
               }}\n\
             }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration)?;
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(file);
        Self::start(command, folder, port)
    }

    /// nghttpd, which prints each frame, sends back what is uploaded, and ends responses with a
    /// trailer.
    pub fn nghttpd(options: &[&str]) -> Result<Self> {
        let (folder, port) = place()?;
        // It keeps what it prints, if that goes to a pipe.
        let mut command = tool::command("stdbuf", ["--output=L"])?;
        command.arg(tool::find("nghttpd")?).args(["--address=127.0.0.1", "--echo-upload"]);
        command.args(options).args(["--htdocs=files", &port.to_string()]);
        command.args(["key.pem", "certificate.pem"]).current_dir(folder.path());
        Self::start(command, folder, port)
    }

    /// A program that is given a port and the files of its key and of its certificate.
    pub fn program(mut command: Command) -> Result<Self> {
        Self::by(|port, key, certificate| {
            command.arg(port.to_string()).args([key, certificate]);
            Ok(command)
        })
    }

    /// What is made of a port and the files of a key and its certificate.
    pub fn by(make: impl FnOnce(u16, &Path, &Path) -> Result<Command>) -> Result<Self> {
        let (folder, port) = place()?;
        let [key, certificate] =
            ["key.pem", "certificate.pem"].map(|name| folder.path().join(name));
        Self::start(make(port, &key, &certificate)?, folder, port)
    }

    fn start(command: Command, folder: TempDir, port: u16) -> Result<Self> {
        Ok(Self { process: database::listening(command, port)?, folder, port })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The URL of a path, or the beginning of all.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// What it has printed.
    pub fn printed(&self) -> Vec<String> {
        self.process.stdout.lines()
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// A folder for what its clients write; it goes with the server.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Those that do not end by it are killed.
        let _ = self.process.signal(Signal::INT);
    }
}

/// A folder with a certificate and files, and a port that nobody uses.
fn place() -> Result<(TempDir, u16)> {
    let folder = database::scratch()?;
    let files = folder.path().join("files");
    fs::create_dir(&files)?;
    for (name, text) in FILES {
        fs::write(files.join(name), text)?;
    }
    Ok((folder, database::free_port()?))
}

//! Containers that come and go together: a server, and clients of it and of a database.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    database::Database,
    docker::{Container, Derived, Docker, Run},
    tool,
};

use super::told::{Asked, Side};
use crate::databases;

/// Of each client.
const REQUESTS: u64 = 20;

/// Where psql is in the image, with the libraries that it needs.
const PSQL: &str = "/psql";
/// Those that must be of the image.
const OF_THE_IMAGE: [&str; 3] = ["libc.so", "libm.so", "ld-linux"];

/// What generations have in common.
pub(super) struct Breed<'a> {
    docker: &'a Docker,
    image: Derived,
    database: Database,
}

impl<'a> Breed<'a> {
    pub(super) fn new(docker: &'a Docker) -> Result<Self> {
        Ok(Self { docker, image: image(docker)?, database: Database::postgresql()? })
    }

    /// Lets a generation live. With `own`, one of its clients brings a library that nobody has seen.
    ///
    /// Gives what was asked on each side, and by how many containers.
    pub(super) fn live(&self, own: bool) -> Result<(Vec<Asked>, u32)> {
        let server = self.run("server", self.docker.network())?;
        let server = server.start(&["nginx", "-c", "/fixture/nginx.conf"])?;
        server.wait_for_log("start worker process")?;
        let kinds: &[Kind] = if own { &Kind::ALL } else { &Kind::OF_THE_IMAGE };
        let clients = kinds.iter().map(|kind| self.client(*kind, &server));
        let clients: Vec<_> = clients.collect::<Result<_>>()?;
        let mut asked = Vec::new();
        for (client_kind, client) in kinds.iter().zip(&clients) {
            answered(client).with_context(|| format!("{client_kind:?}"))?;
            let mark = client.name().to_owned();
            let served = if *client_kind == Kind::Psql { "" } else { server.name() };
            for (container, kind) in [(client.name(), "client"), (served, "server")] {
                let own = *client_kind == Kind::Own && kind == "client";
                let side = Side { container: container.to_owned(), kind, mark: mark.clone() };
                asked.push(Asked { side, count: REQUESTS, own });
            }
        }
        Ok((asked, u32::try_from(clients.len())? + 1))
    }

    fn run(&self, role: &str, network: &str) -> Result<Run> {
        Ok(self.docker.run(role)?.of_image(self.image.name()).network(network))
    }

    fn client(&self, kind: Kind, server: &Container) -> Result<Container> {
        if kind == Kind::Psql {
            return self.psql();
        }
        let run = self.run("client", self.docker.network())?;
        let mark = run.name().to_owned();
        let url = |port: u16| format!("https://{}:{port}/file?mark={mark}", server.name());
        let curl = "curl --silent --show-error --fail --insecure --output /dev/null";
        let (first, second) = (url(8443), url(8444));
        let script = match kind {
            Kind::Http1 => format!(r#"{curl} "{first}&n=[1-{REQUESTS}]""#),
            Kind::Http2 => format!(r#"{curl} --http2 "{second}&n=[1-{REQUESTS}]""#),
            Kind::Python => format!(r#"python3 /fixture/https_client.py "{first}" {REQUESTS}"#),
            Kind::Own => format!(
                "mkdir /own && cp /usr/lib/*/libssl.so.3 /own && export LD_LIBRARY_PATH=/own && \
                 {curl} \"{first}&n=[1-{REQUESTS}]\""
            ),
            Kind::Psql => return self.psql(),
        };
        run.start(&["sh", "-e", "-c", &script])
    }

    fn psql(&self) -> Result<Container> {
        // The database is the host's.
        let run = self.run("client", "host")?;
        let mark = run.name().to_owned();
        let mut command = vec![format!("{PSQL}/psql"), "-X".to_owned(), "-A".to_owned()];
        command.push(databases::address(&self.database));
        for number in 1..=REQUESTS {
            command.push("-c".to_owned());
            command.push(format!("select {number} /* mark={mark} */"));
        }
        let library = format!("LD_LIBRARY_PATH={PSQL}");
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        run.options(&["--env", &library]).start(&command)
    }
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One connection.
    Http1,
    /// One connection.
    Http2,
    /// A connection for each request.
    Python,
    /// One connection.
    Psql,
    /// As the first, on a copy of libssl of its own.
    Own,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Http1, Self::Http2, Self::Python, Self::Psql, Self::Own];
    const OF_THE_IMAGE: [Self; 4] = [Self::Http1, Self::Http2, Self::Python, Self::Psql];
}

/// Waits for the end of a client: it ends well only if all it asked was answered.
fn answered(client: &Container) -> Result<()> {
    let status = client.wait()?;
    ensure!(status == "0", "{} ended with {status}: {}", client.name(), client.log()?);
    Ok(())
}

/// The suite's image with a file to serve, and with psql.
fn image(docker: &Docker) -> Result<Derived> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("files"))?;
    std::fs::write(root.join("files/file"), "hello from a file\n")?;
    copy_psql(&root.join(PSQL.trim_start_matches('/')))?;
    let dockerfile = format!("FROM {}\nCOPY root /\n", docker.image()?);
    docker.derive(&dockerfile, folder.path())
}

fn copy_psql(into: &Path) -> Result<()> {
    std::fs::create_dir_all(into)?;
    let program = Path::new("/usr/lib/postgresql/15/bin/psql");
    let listed = tool::run(tool::command("ldd", [program])?)?;
    let needed = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for file in needed.chain([program.to_owned()]) {
        let name = file.file_name().context("no name")?;
        if !OF_THE_IMAGE.iter().any(|begin| name.to_string_lossy().starts_with(begin)) {
            std::fs::copy(&file, into.join(name))?;
        }
    }
    Ok(())
}

//! What the measurements stand on: a folder in the target directory with copies of the libraries,
//! a certificate, pages to serve, and the small programs in C.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    library::{self, Mapping, Sites},
    sslsniff::Sslsniff,
};
use crate::{command, workspace};

/// The prepared folder; removed when dropped.
pub(super) struct Ground {
    folder: PathBuf,
    pub(super) agent: PathBuf,
    /// Where the floor's probes go.
    pub(super) sites: Sites,
    /// Where it can be had.
    pub(super) sslsniff: Option<Sslsniff>,
}

/// Pages by name and size.
pub(super) const PAGES: [(&str, usize); 4] =
    [("100", 100), ("1k", 1 << 10), ("16k", 1 << 14), ("1m", 1 << 20)];

const PROGRAMS: [(&str, &str); 3] = [
    ("micro", include_str!("c/micro.c")),
    ("floor", include_str!("c/floor.c")),
    ("pacer", include_str!("c/pacer.c")),
];

impl Ground {
    pub(super) fn prepare(agent: PathBuf, sslsniff: bool) -> Result<Self> {
        let folder = folder()?.join("ground");
        if folder.exists() {
            // Of a run that was killed.
            fs::remove_dir_all(&folder).context("failed to clear the bench's folder")?;
        }
        fs::create_dir_all(folder.join("www")).context("failed to make the bench's folder")?;
        let server = command::find("nginx").context("nginx is not installed")?;
        library::copies(&server, &folder.join("server"), Mapping::Plain)?;
        library::copies(&server, &folder.join("client"), Mapping::Writable)?;
        let sites = Sites::of(&library::tls(&folder.join("server")))?;
        let sslsniff = sslsniff.then(|| Sslsniff::prepare(&folder)).and_then(|prepared| {
            prepared.inspect_err(|error| eprintln!("xtask: sslsniff is left out: {error:#}")).ok()
        });
        let ground = Self { folder, agent, sites, sslsniff };
        ground.write_pages()?;
        ground.make_certificate()?;
        ground.compile()?;
        Ok(ground)
    }

    fn write_pages(&self) -> Result<()> {
        for (name, size) in PAGES {
            let page = b"0123456789abcdef".iter().copied().cycle().take(size);
            fs::write(self.path("www").join(name), page.collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn make_certificate(&self) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl
            .current_dir(&self.folder)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "1", "-subj", "/CN=localhost"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"]);
        command::output(&mut openssl).map(drop)
    }

    fn compile(&self) -> Result<()> {
        fs::write(self.path("uprobe.h"), include_str!("c/uprobe.h"))?;
        for (name, source) in PROGRAMS {
            fs::write(self.path(name).with_extension("c"), source)?;
            self.compile_one(&self.path(name).with_extension("c"), name)?;
        }
        // The suite's, which counts TLS calls.
        self.compile_one(&workspace::root().join("tests/fixtures/pace.c"), "pace")
    }

    fn compile_one(&self, source: &Path, name: &str) -> Result<()> {
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-o"]).arg(self.path(name)).arg(source);
        command::output(compiler.args(["-lssl", "-lcrypto", "-pthread"])).map(drop)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The copy that is probed.
    pub(super) fn library(&self) -> PathBuf {
        library::tls(&self.path("server"))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("xtask: failed to remove {}: {error}", self.folder.display());
        }
    }
}

/// Where the bench keeps its files.
pub(super) fn folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join("bench"))
}

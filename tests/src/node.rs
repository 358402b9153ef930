//! The node that the suite runs on: the agent's binary, Docker, containerd, Podman, and the compiled fixture.
//!
//! Each is made when the first test asks for it, and taken down by [`Node::clear`].

use std::{
    cell::{OnceCell, RefCell},
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{
    agent::Launch,
    compile::{self, Linked},
    containerd::Containerd,
    docker::{Derived, Docker},
    exact::Exact,
    killed::Killing,
    libraries::{Installed, Library},
    pace::Pace,
    podman::Podman,
    talk::Talk,
    tool,
    wakeups::Wakeups,
};

/// Everything that tests share.
pub struct Node {
    scratch: TempDir,
    tlstap: OnceCell<PathBuf>,
    docker: OnceCell<Docker>,
    containerd: OnceCell<RefCell<Containerd>>,
    podman: OnceCell<Podman>,
    talk: OnceCell<PathBuf>,
    image: OnceCell<String>,
    exact: OnceCell<PathBuf>,
    killed: OnceCell<PathBuf>,
    pace: OnceCell<PathBuf>,
    wakeups: OnceCell<PathBuf>,
    calls: OnceCell<PathBuf>,
    sealed: OnceCell<PathBuf>,
}

impl Node {
    /// A node on which nothing has been started yet.
    pub fn new() -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("tlstap-tests-").tempdir()?;
        // A test without privileges must be able to start the agent from here.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            scratch,
            tlstap: OnceCell::new(),
            docker: OnceCell::new(),
            containerd: OnceCell::new(),
            podman: OnceCell::new(),
            talk: OnceCell::new(),
            image: OnceCell::new(),
            exact: OnceCell::new(),
            killed: OnceCell::new(),
            pace: OnceCell::new(),
            wakeups: OnceCell::new(),
            calls: OnceCell::new(),
            sealed: OnceCell::new(),
        })
    }

    /// A folder that everyone can read, removed at the end.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// tlstap with these arguments.
    pub fn tlstap(&self, arguments: &[&str]) -> Result<Launch> {
        let binary = once(&self.tlstap, || copy_agent(self.scratch()))?;
        Ok(Launch::new(binary.clone(), arguments))
    }

    /// Docker, started if it does not run.
    pub fn docker(&self) -> Result<&Docker> {
        once(&self.docker, Docker::reach)
    }

    /// tlstap with these arguments, in a container of its own image that containerd makes with these
    /// options of `ctr run`.
    pub fn tlstap_in_container(&self, options: &[String], arguments: &[&str]) -> Result<Launch> {
        let containerd = self.containerd()?.borrow();
        let image = once(&self.image, || containerd.import(&image()?))?;
        let run = containerd.run(image, options);
        let run: Vec<_> = run.iter().map(String::as_str).collect();
        Ok(Launch::new("/tlstap".into(), arguments).through(&run))
    }

    /// The agent's image, as Docker takes it.
    pub fn image(&self) -> Result<Derived> {
        self.docker()?.load(&image()?)
    }

    /// A containerd of our own, for pods.
    pub fn containerd(&self) -> Result<&RefCell<Containerd>> {
        let start = || Ok(RefCell::new(Containerd::start(self.docker()?)?));
        once(&self.containerd, start)
    }

    /// A Podman of our own.
    pub fn podman(&self) -> Result<&Podman> {
        once(&self.podman, Podman::start)
    }

    /// The fixture program, to be started with its own arguments.
    pub fn talk(&self) -> Result<Talk> {
        let binary = once(&self.talk, || Talk::compile(self.scratch()))?;
        Ok(Talk::new(binary.clone()))
    }

    /// The fixture program that counts, on the machine's own libssl.
    pub fn exact(&self) -> Result<Exact> {
        let compile = || compile::exact(self.scratch(), &Linked::shared());
        Ok(Exact::new(once(&self.exact, compile)?.clone()))
    }

    /// The same, linked to a library that is built for it.
    pub fn exact_on(&self, library: Library) -> Result<Exact> {
        let folder = self.scratch().join(format!("{library:?}"));
        let known = folder.join("exact");
        if known.exists() {
            return Ok(Exact::new(known));
        }
        fs::create_dir_all(&folder)?;
        Ok(Exact::new(compile::exact(&folder, &library.linked()?)?))
    }

    /// The same on another library that the machine has.
    pub fn exact_by(&self, library: Installed) -> Result<Exact> {
        let folder = self.folder_of(library)?;
        let folder = folder.to_str().context("a path that is not UTF-8")?;
        Ok(Exact::new(self.by("exact", library)?).flags(&["--folder", folder]))
    }

    /// The fixture `exact` or `web` on such a library.
    pub fn by(&self, fixture: &str, library: Installed) -> Result<PathBuf> {
        let folder = self.folder_of(library)?;
        let known = folder.join(fixture);
        if known.exists() {
            return Ok(known);
        }
        let sources = [fixture, &format!("exact_{}", library.name())];
        compile::program(fixture, &sources, &folder, &library.linked()?)
    }

    /// Where these fixtures and their certificate are.
    pub fn folder_of(&self, library: Installed) -> Result<PathBuf> {
        let folder = self.scratch().join(library.name());
        if !folder.exists() {
            fs::create_dir_all(&folder)?;
            library.prepare(&folder)?;
        }
        Ok(folder)
    }

    /// One in Python that behaves like it, on the machine's own libssl.
    pub fn exact_in_python(&self) -> Result<Exact> {
        let script = tool::fixtures().join("exact.py");
        let script = script.to_str().context("a path that is not UTF-8")?;
        Ok(Exact::new(tool::find("python3")?).flags(&[script]))
    }

    /// The fixture program that stands in for a TLS library.
    pub fn calls(&self) -> Result<&Path> {
        Ok(once(&self.calls, || self.compiled("calls"))?)
    }

    /// The fixture program that becomes another one under a seccomp filter, which kills.
    pub fn sealed(&self) -> Result<&Path> {
        Ok(once(&self.sealed, || self.compiled("sealed"))?)
    }

    /// The fixture program that has so many children killed, waiting.
    pub fn killed(&self, count: usize) -> Result<Killing> {
        let binary = once(&self.killed, || self.compiled("killed"))?;
        Killing::start(binary, count)
    }

    /// The fixture program that makes TLS calls by the number, with its connections open.
    pub fn pace(&self, flags: &[&str]) -> Result<Pace> {
        Pace::start(once(&self.pace, || self.compiled("pace"))?, flags, None)
    }

    /// Likewise, with the libraries of a folder.
    pub fn pace_with(&self, libraries: &Path) -> Result<Pace> {
        Pace::start(once(&self.pace, || self.compiled("pace"))?, &[], Some(libraries))
    }

    /// Counts from now on who wakes the reader of a BPF ring buffer.
    pub fn wakeups(&self, map: u64) -> Result<Wakeups> {
        Wakeups::start(once(&self.wakeups, || self.compiled("wakeups"))?, map)
    }

    fn compiled(&self, name: &str) -> Result<PathBuf> {
        compile::fixture(name, self.scratch(), &Linked::shared())
    }

    /// Takes down what was started.
    pub fn clear(self) -> Result<()> {
        if let Some(containerd) = self.containerd.into_inner() {
            containerd.into_inner().stop()?;
        }
        if let Some(podman) = self.podman.into_inner() {
            podman.stop()?;
        }
        if let Some(docker) = self.docker.into_inner() {
            docker.leave()?;
        }
        self.scratch.close().context("failed to remove the scratch folder")
    }
}

fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// The agent as it was built.
pub(crate) fn built() -> Result<PathBuf> {
    env::var_os("TLSTAP_BIN").map_or_else(release, |path| Ok(PathBuf::from(path)))
}

/// A copy of the binary under test, where every user can reach it, and where no build replaces
/// it meanwhile.
fn copy_agent(scratch: &Path) -> Result<PathBuf> {
    let built = built()?;
    ensure!(
        built.is_file(),
        "{} does not exist; `cargo xtask test` builds it, or set TLSTAP_BIN",
        built.display()
    );
    let copy = scratch.join("tlstap");
    fs::copy(&built, &copy).with_context(|| format!("failed to copy {}", built.display()))?;
    Ok(copy)
}

/// The archive of the agent's image.
fn image() -> Result<PathBuf> {
    let given = env::var_os("TLSTAP_IMAGE").map(PathBuf::from);
    let archive =
        given.context("no TLSTAP_IMAGE; `cargo xtask test` makes the image and sets it")?;
    ensure!(archive.is_file(), "{} does not exist", archive.display());
    Ok(archive)
}

/// `target/release/tlstap` beside the profile folder that holds the suite itself.
fn release() -> Result<PathBuf> {
    let suite = env::current_exe()?;
    let target = suite.ancestors().nth(3).ok_or_else(|| anyhow!("no target folder"))?;
    Ok(target.join("release/tlstap"))
}

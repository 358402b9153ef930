//! The image, in two steps: the distribution's packages by debootstrap, kept as a tar archive in
//! the cache; then the fixtures on top, by a Dockerfile. Tags carry a hash of what they are made
//! of, so an image that exists is right.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};

use super::{cache, client, docker};
use crate::tool;

const PACKAGES: &str = "ca-certificates,curl,nginx-light,nodejs,openssl,python3";

/// The image with everything; its name.
pub(super) fn build() -> Result<String> {
    let context = tool::fixtures().join("image");
    let base = base()?;
    let mut hasher = DefaultHasher::new();
    base.hash(&mut hasher);
    for path in files(&context)? {
        fs::read(path)?.hash(&mut hasher);
    }
    let tag = format!("tlstap-tests:{:016x}", hasher.finish());
    if !exists(&tag) {
        let from = format!("BASE={base}");
        let mut command = client(["build", "--network", "none", "--tag", &tag])?;
        command.args(["--build-arg", &from]).arg(context);
        tool::run(command)?;
    }
    Ok(tag)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn exists(image: &str) -> bool {
    docker(["image", "inspect", "--format", "{{.Id}}", image]).is_ok()
}

/// The image with the packages; its name.
fn base() -> Result<String> {
    let release = release()?;
    let mut hasher = DefaultHasher::new();
    (&release, PACKAGES).hash(&mut hasher);
    let hash = hasher.finish();
    let tag = format!("tlstap-tests-base:{hash:016x}");
    if !exists(&tag) {
        let archive = cache::folder()?.join(format!("rootfs-{hash:016x}.tar"));
        if !archive.exists() {
            eprintln!("building the root file system of the test image (about a minute)");
            bootstrap(&release, &archive)?;
        }
        let mut import = client(["import"])?;
        import.arg(&archive).arg(&tag);
        tool::run(import)?;
    }
    Ok(tag)
}

/// The release that the machine itself runs, such as `bookworm`.
fn release() -> Result<String> {
    let names = fs::read_to_string("/etc/os-release")?;
    let name = names.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("no VERSION_CODENAME in /etc/os-release")?.trim_matches('"').to_owned())
}

fn bootstrap(release: &str, archive: &Path) -> Result<()> {
    let root = tempfile::tempdir_in(cache::folder()?)?;
    let include = format!("--include={PACKAGES}");
    let mut command = tool::command("debootstrap", ["--variant=minbase", &include, release])?;
    command.arg(root.path()).arg(mirror(release)?);
    // A package's script must not wait for an answer.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    tool::run(command)?;
    let _ = fs::remove_dir_all(root.path().join("var/cache/apt/archives"));
    let half = archive.with_extension("half");
    let mut pack = tool::command("tar", ["--create", "--file"])?;
    pack.arg(&half).arg("--directory").arg(root.path()).arg(".");
    tool::run(pack)?;
    // Only a whole archive gets the name that is looked for.
    Ok(fs::rename(half, archive)?)
}

/// Where the machine's own apt gets this release from.
fn mirror(release: &str) -> Result<String> {
    let format = "$(CODENAME) $(REPO_URI)";
    let listed = tool::run(tool::command(
        "apt-get",
        ["indextargets", "--format", format, "Created-By: Packages"],
    )?)?;
    let mirror = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(codename, _)| *codename == release)
        .map(|(_, mirror)| mirror.to_owned());
    let mirror = mirror.with_context(|| format!("apt has no source of {release}"))?;
    ensure!(!mirror.is_empty(), "apt names no mirror of {release}");
    Ok(mirror)
}

/// An image made for one test, removed when dropped.
pub struct Derived {
    name: String,
}

impl Derived {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes it into a file, as an archive that other runtimes can read.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let mut save = client(["save", "--output"])?;
        save.arg(file).arg(&self.name);
        tool::run(save).map(drop)
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        // A container that still uses it is in the way; the sweep of the next run gets both.
        let _ = docker(["image", "rm", "--force", &self.name]);
    }
}

/// Builds an image in a folder, every step anew.
pub(super) fn derive(dockerfile: &str, context: &Path) -> Result<Derived> {
    let name = format!("tlstap-tests-derived:{}", super::container::unique());
    fs::write(context.join("Dockerfile"), dockerfile)?;
    let mut command = client(["build", "--no-cache", "--network", "none", "--tag", &name])?;
    command.arg(context);
    tool::run(command)?;
    Ok(Derived { name })
}

/// Takes an image from an archive that names it.
pub(super) fn load(archive: &Path) -> Result<Derived> {
    let mut load = client(["load", "--input"])?;
    load.arg(archive);
    let said = tool::run(load)?;
    let name = said.lines().find_map(|line| line.strip_prefix("Loaded image: "));
    let name = name.with_context(|| format!("no name of the image in {said:?}"))?;
    Ok(Derived { name: name.to_owned() })
}

/// Builds an image of files of this machine and what they are linked to.
pub(super) fn of_files(files: &[PathBuf]) -> Result<Derived> {
    let root = tempfile::tempdir()?;
    let mut all = files.to_vec();
    for file in files {
        // Fails for what is no program and no library.
        let listed = tool::run(tool::command("ldd", [file])?).unwrap_or_default();
        let words = listed.split_whitespace().filter(|word| word.starts_with('/'));
        all.extend(words.map(PathBuf::from));
    }
    let mut copy = tool::command("cp", ["--dereference", "--parents", "--target-directory"])?;
    copy.arg(root.path()).args(all);
    tool::run(copy)?;
    derive("FROM scratch\nCOPY . /\n", root.path())
}

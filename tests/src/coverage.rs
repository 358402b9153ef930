//! Of which TLS libraries the tests have seen plaintext, and how the agent found their functions:
//! the table in docs/tls-libraries.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{node, tool};

/// From the tests to the table.
static COVERAGE: Mutex<Coverage> = Mutex::new(Coverage::new());

/// Tests of one group that are named one by one; of more only the group is.
const NAMED: usize = 3;

/// What stands before the table.
const HEAD: &str = "# TLS libraries

Each line is a build of a TLS library of which the tests saw plaintext, byte for byte as the programs had it. `cargo xtask test`
writes this file when all tests have passed, so versions are those of the machine that ran them; others of the same kind are
found in the same way. What the words in *how found* mean is in [output.md](output.md#tlstap-list), and so are the reasons that
`tlstap list` gives for what is not probed.

All of it is x86-64. For AArch64 the kernel half is compiled, and which instructions of an OpenSSL for it would be probed is held against
`readelf` and the kernel's rules, but no program was run there. Go, NSS, rustls and libraries without symbols are not looked for there.

| library | version | where it is | how found | programs | tests |
|---|---|---|---|---|---|
";

/// A build of a library, as the agent tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Build {
    library: String,
    version: Option<String>,
    place: &'static str,
    methods: BTreeSet<String>,
}

/// Who used a build.
#[derive(Debug, Default)]
struct Users {
    programs: BTreeSet<String>,
    tests: BTreeSet<String>,
}

/// A library in a file: name, version, path.
type Key = (String, Option<String>, String);

#[derive(Debug)]
struct Coverage {
    /// Of what the running test has seen: the build and the program.
    now: BTreeSet<(Build, String)>,
    /// What it has looked for.
    tried: BTreeSet<Key>,
    methods: BTreeMap<Key, BTreeSet<String>>,
    builds: BTreeMap<Build, Users>,
}

impl Coverage {
    const fn new() -> Self {
        Self {
            now: BTreeSet::new(),
            tried: BTreeSet::new(),
            methods: BTreeMap::new(),
            builds: BTreeMap::new(),
        }
    }
}

fn coverage() -> MutexGuard<'static, Coverage> {
    COVERAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a record of the agent's.
pub(crate) fn saw(record: &Value) {
    let Some(key) = key(record) else { return };
    let mut coverage = coverage();
    if record.get("type").is_some_and(|kind| kind == "library") {
        keep(&mut coverage, key, record);
        return;
    }
    // The process may be gone. Another will come, but not in each test.
    if !coverage.methods.contains_key(&key)
        && coverage.tried.insert(key.clone())
        && let Ok(rows) = listed()
    {
        for row in rows {
            if let Some(key) = self::key(&row) {
                keep(&mut coverage, key, &row);
            }
        }
    }
    let Some(methods) = coverage.methods.get(&key).cloned() else { return };
    let (library, version, path) = key;
    let inside = text(record, "/process/executable/path").as_ref() == Some(&path);
    let place = if inside { "in the program" } else { "shared library" };
    let build = Build { library, version, place, methods };
    coverage.now.insert((build, text(record, "/process/command").unwrap_or_default()));
}

fn text(record: &Value, at: &str) -> Option<String> {
    record.pointer(at)?.as_str().map(str::to_owned)
}

fn key(record: &Value) -> Option<Key> {
    let version = text(record, "/tls/version");
    Some((text(record, "/tls/library")?, version, text(record, "/tls/path")?))
}

/// Keeps how the functions of a library that `tlstap list` tells were found.
fn keep(coverage: &mut Coverage, key: Key, row: &Value) {
    let probes = row.get("probes").and_then(Value::as_array).into_iter().flatten();
    let methods = probes.filter_map(|probe| probe.get("method")?.as_str().map(str::to_owned));
    let methods: BTreeSet<_> = methods.collect();
    if !methods.is_empty() {
        coverage.methods.insert(key, methods);
    }
}

fn listed() -> Result<Vec<Value>> {
    let mut list = Command::new(node::built()?);
    list.args(["list", "-o", "json"]);
    tool::run(list)?
        .lines()
        .map(|line| serde_json::from_str(line).context("a line is no JSON"))
        .collect()
}

/// A test ended.
pub fn ended(test: &str, passed: bool) {
    let mut coverage = coverage();
    coverage.tried.clear();
    for (build, program) in std::mem::take(&mut coverage.now) {
        if passed {
            let users = coverage.builds.entry(build).or_default();
            users.programs.insert(program);
            users.tests.insert(test.to_owned());
        }
    }
}

/// Writes the page anew, after all tests have passed. A library that it named before must have been
/// seen again.
pub fn write() -> Result<()> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tls-libraries.md");
    let before = fs::read_to_string(&page).unwrap_or_default();
    let now = table(&coverage().builds);
    let lost: Vec<_> = libraries(&before).difference(&libraries(&now)).cloned().collect();
    ensure!(lost.is_empty(), "{} names {lost:?}, of which no test saw plaintext", page.display());
    fs::write(&page, now).with_context(|| format!("failed to write {}", page.display()))
}

/// The names in a table's first column.
fn libraries(table: &str) -> BTreeSet<String> {
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    rows.filter_map(|row| row.split('|').nth(1)).map(|name| name.trim().to_owned()).collect()
}

fn table(builds: &BTreeMap<Build, Users>) -> String {
    let mut table = HEAD.to_owned();
    for (Build { library, version, place, methods }, users) in builds {
        let version = version.as_deref().unwrap_or("not told");
        let methods = join(methods);
        let (programs, tests) = (join(&users.programs), grouped(&users.tests));
        table +=
            &format!("| {library} | {version} | {place} | {methods} | {programs} | {tests} |\n");
    }
    table
}

fn join(words: &BTreeSet<String>) -> String {
    let words = words.iter().filter(|word| !word.is_empty());
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Tests by their module: named, or as `module::*` with their number.
fn grouped(tests: &BTreeSet<String>) -> String {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for test in tests {
        let module = test.rsplit_once("::").map_or("", |(module, _)| module);
        groups.entry(module).or_default().push(test);
    }
    let group = |(module, tests): (&str, Vec<&str>)| {
        if tests.len() > NAMED {
            return format!("`{module}::*` ({})", tests.len());
        }
        tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
    };
    groups.into_iter().map(group).collect::<Vec<_>>().join(", ")
}

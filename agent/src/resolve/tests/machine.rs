//! A thousand ELF files of the machine: probes only where binutils too sees a TLS library, and each on
//! a function that they know as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::probes;
use crate::resolve::{Method, Resolution, Resolver};

const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/sbin"];
const FILES: usize = 1000;

/// Families, how the names of files begin that are known to contain them, and functions that all of
/// those define.
const KNOWN: [(&str, &[&str], [&str; 2]); 2] = [
    ("openssl", &["libssl", "libnode.so", "node"], ["SSL_read", "SSL_write"]),
    ("gnutls", &["libgnutls.so"], ["gnutls_record_recv", "gnutls_record_send"]),
];

/// Has OpenSSL's functions, which go on to those of GnuTLS, where they are probed.
fn goes_on(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("libgnutls-openssl")
}

/// The ELF files below a folder, without links.
fn elf_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let mut magic = [0; 4];
        if kind.is_dir() {
            elf_files(&path, found);
        } else if kind.is_file()
            && File::open(&path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
            && magic == *b"\x7fELF"
        {
            found.push(path);
        }
    }
}

/// So many files, evenly from all of them in the order of their names, and those that are known.
fn chosen() -> BTreeSet<PathBuf> {
    let mut all = Vec::new();
    FOLDERS.iter().for_each(|folder| elf_files(Path::new(folder), &mut all));
    all.sort();
    let known = |path: &&PathBuf| KNOWN.iter().any(|(family, ..)| is_known(family, path));
    let step = (all.len() / FILES).max(1);
    let even = all.iter().step_by(step).take(FILES);
    even.chain(all.iter().filter(known)).cloned().collect()
}

fn is_known(family: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    KNOWN.iter().any(|(known, begins, _)| {
        *known == family && begins.iter().any(|begin| name.starts_with(begin))
    })
}

/// The lines that readelf prints of files.
fn readelf<'p>(
    flags: &[&str],
    files: impl IntoIterator<Item = &'p PathBuf>,
) -> impl Iterator<Item = String> {
    let mut command = Command::new("readelf");
    command.args(flags).args(files).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let lines = lines.map(|line| String::from_utf8_lossy(&line.unwrap()).into_owned());
    lines.chain(std::iter::once_with(move || child.wait().unwrap().to_string()))
}

/// The functions that a line of a table of symbols defines: the name without its version, address.
fn function(line: &str) -> Option<(&str, u64)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, value, _, "FUNC", _, _, section, name, ..] = words[..] else { return None };
    let name = name.split('@').next()?;
    (section != "UND").then(|| (name, u64::from_str_radix(value, 16).unwrap()))
}

/// The families whose functions the files export.
fn exporting(files: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, &'static str> {
    let wanted = KNOWN.map(|(family, _, names)| (family, names));
    let (mut found, mut file, mut seen) = (BTreeMap::new(), PathBuf::new(), BTreeSet::new());
    for batch in files.iter().collect::<Vec<_>>().chunks(200) {
        for line in readelf(&["--wide", "--dyn-syms"], batch.iter().copied()) {
            if let Some(name) = line.strip_prefix("File: ") {
                (file, seen) = (PathBuf::from(name), BTreeSet::new());
            } else if let Some((name, _)) = function(&line) {
                for (family, names) in wanted {
                    if names.contains(&name) {
                        seen.insert(name.to_owned());
                    }
                    if names.iter().all(|name| seen.contains(*name)) {
                        found.insert(file.clone(), family);
                    }
                }
            }
        }
    }
    found
}

/// Addresses at which functions begin: those of symbols, by name, and those with frames.
pub(super) struct Functions {
    pub(super) named: BTreeMap<String, BTreeSet<u64>>,
    framed: BTreeSet<u64>,
    /// Of code: address, offset, bytes.
    segments: Vec<[u64; 3]>,
}

impl Functions {
    pub(super) fn of(path: &PathBuf) -> Self {
        let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let mut named = BTreeMap::<_, BTreeSet<_>>::new();
        let mut segments = Vec::new();
        for line in readelf(&["--wide", "--syms", "--segments"], [path]) {
            if let Some((name, address)) = function(&line) {
                named.entry(name.to_owned()).or_default().insert(address);
            }
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["LOAD", offset, address, _, size, _, "R", "E", ..] = words[..] {
                segments.push([address, offset, size].map(hex));
            }
        }
        let begin = |line: String| {
            let (_, range) = line.split_once(" FDE ")?.1.split_once("pc=")?;
            Some(hex(range.split_once("..")?.0))
        };
        let framed = readelf(&["--debug-dump=frames"], [path]).filter_map(begin).collect();
        Self { named, framed, segments }
    }

    pub(super) fn address(&self, file_offset: u64) -> u64 {
        let inside = |[address, offset, size]: &[u64; 3]| {
            let inside = file_offset.checked_sub(*offset).filter(|inside| inside < size)?;
            Some(address + inside)
        };
        self.segments.iter().find_map(inside).unwrap()
    }
}

#[test]
fn a_thousand_files() {
    let files = chosen();
    assert!(files.len() >= FILES, "only {} ELF files", files.len());
    let exporting = exporting(&files);
    let (mut resolver, mut counts) = (Resolver::default(), BTreeMap::<_, usize>::new());
    for path in &files {
        let resolution = resolver.resolve(&File::open(path).unwrap(), None);
        let shown = match &resolution {
            Resolution::Library { name, .. } => (*name).to_owned(),
            Resolution::Skipped { name, reason } => format!("{} {reason}", name.unwrap_or("?")),
            Resolution::Unrelated => "unrelated".to_owned(),
        };
        *counts.entry(shown).or_default() += 1;
        let Resolution::Library { name, .. } = resolution else {
            let left_out = exporting.contains_key(path) && !goes_on(path);
            assert!(!left_out, "{} is {resolution:?}", path.display());
            continue;
        };
        let Some((family, ..)) = KNOWN.iter().find(|(family, ..)| *family == name) else {
            // Held by tests of its own.
            continue;
        };
        // No function that others may call: it is linked in, stripped or not, and the library names itself.
        let linked_in =
            probes(&resolution).iter().all(|probe| !matches!(probe.method, Method::Dynsym));
        if linked_in {
            let names_itself = memchr::memmem::find(&fs::read(path).unwrap(), b"OpenSSL ");
            assert!(names_itself.is_some(), "{} contains {family}?", path.display());
            assert_eq!(exporting.get(path), None, "{}", path.display());
        } else {
            assert!(is_known(family, path), "{} contains {family}?", path.display());
            assert_eq!(exporting.get(path), Some(family), "{}", path.display());
        }
        let functions = Functions::of(path);
        for probe in probes(&resolution) {
            let address = functions.address(probe.offset);
            let known = match probe.method {
                Method::Dynsym | Method::Symtab => {
                    functions.named.get(probe.symbol).is_some_and(|all| all.contains(&address))
                }
                _ => functions.framed.contains(&address),
            };
            assert!(known, "{} of {} at {address:#x}", probe.symbol, path.display());
            *counts.entry(format!("{family} {}", probe.method.as_str())).or_default() += 1;
        }
    }
    println!("{} files: {counts:?}", files.len());
    assert!(counts["openssl"] > 0 && counts["gnutls"] > 0, "{counts:?}");
    assert!(counts["unrelated"] > files.len() * 9 / 10, "{counts:?}");
}

//! Symbols from elsewhere: which are believed, and what they may cost.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use object::elf::SHT_PROGBITS;
use tempfile::TempDir;
use tlstap_tests::symbols;

use super::{bounded::within, made::Made, measured, probes};
use crate::resolve::{Given, Method, Place, Reason, Resolution, Resolver};

/// Stands in for a library: only where functions are matters.
const CODE: &str = "
    __attribute__((noinline)) int SSL_read(void *ssl, char *to, int size) { return to[size] + !ssl; }
    __attribute__((noinline)) int SSL_write(void *ssl, char *to, int size) { return to[size] - !ssl; }
    int main(int count, char **all) { return SSL_read(0, *all, 0) + SSL_write(0, *all, 0); }
    const char mark[] = \"ssl/ssl_lib.c\";";

/// A program and what becomes of it, and two roots.
struct Fixture {
    folder: TempDir,
    program: PathBuf,
    stripped: PathBuf,
    container: TempDir,
    host: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::of(CODE)
    }

    fn of(code: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let [source, program, stripped] =
            ["code.c", "program", "stripped"].map(|name| folder.path().join(name));
        fs::write(&source, code).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-Wl,--build-id=sha1", "-o"]).args([&program, &source]);
        assert!(cc.status().unwrap().success());
        symbols::strip(&program, &stripped).unwrap();
        let [container, host] = [(); 2].map(|()| TempDir::new().unwrap());
        Self { folder, program, stripped, container, host }
    }

    /// Makes a debug file at a place in a root.
    fn debug_file(&self, root: &TempDir, place: &str) -> PathBuf {
        let debug = root.path().join(place);
        fs::create_dir_all(debug.parent().unwrap()).unwrap();
        symbols::debug_file(&self.program, &debug).unwrap();
        debug
    }

    fn by_build_id(&self) -> String {
        symbols::place(&symbols::build_id(&self.program).unwrap())
    }

    fn resolve_with(&self, given: Given) -> Resolution {
        let place =
            Place { root: self.container.path().to_owned(), path: "/opt/app/program".into() };
        let mut resolver = Resolver::new(Path::new("/proc"), given);
        resolver.layers.host = Some(self.host.path().to_owned());
        resolver.resolve(&File::open(&self.stripped).unwrap(), Some(&place))
    }

    fn resolve(&self) -> Resolution {
        self.resolve_with(Given::default())
    }

    /// Holds both functions to be found so, where the program has them.
    #[track_caller]
    fn finds(&self, found: &Resolution, method: Method) {
        let found: Vec<_> =
            probes(found).iter().map(|probe| (probe.symbol, probe.method, probe.offset)).collect();
        let functions = symbols::functions(&self.program, &[]).unwrap();
        let known = ["SSL_write", "SSL_read"].map(|name| {
            // A small program's addresses are its offsets.
            (name, method, functions[name])
        });
        assert_eq!(found, known);
    }

    #[track_caller]
    fn finds_nothing(&self) {
        let found = self.resolve();
        let stripped = Resolution::Skipped { name: Some("openssl"), reason: Reason::Stripped };
        assert_eq!(found, stripped);
    }
}

#[test]
fn by_build_id_in_either_root() {
    for root in
        [|own: &Fixture| &own.container, |own: &Fixture| &own.host] as [fn(&Fixture) -> &TempDir; 2]
    {
        let own = Fixture::new();
        own.finds_nothing();
        own.debug_file(root(&own), &own.by_build_id());
        own.finds(&own.resolve(), Method::DebugFile);
    }
}

#[test]
fn by_link_in_each_folder() {
    for place in ["opt/app", "opt/app/.debug", "usr/lib/debug/opt/app"] {
        let own = Fixture::new();
        let debug = own.debug_file(&own.container, &format!("{place}/some.debug"));
        own.finds_nothing();
        symbols::link(&own.stripped, &debug).unwrap();
        own.finds(&own.resolve(), Method::DebugFile);
        // Another file of that name, though of the same build.
        let mut bytes = fs::read(&debug).unwrap();
        bytes.push(0);
        fs::write(&debug, bytes).unwrap();
        own.finds_nothing();
    }
}

/// A container chooses where its program lies, and what name that gives: they may name any file of the host.
#[test]
fn by_link_on_the_host_only_among_debug_files() {
    for (place, expect) in
        [("opt/app", false), ("opt/app/.debug", false), ("usr/lib/debug/opt/app", true)]
    {
        let own = Fixture::new();
        let debug = own.debug_file(&own.host, &format!("{place}/some.debug"));
        symbols::link(&own.stripped, &debug).unwrap();
        if expect {
            own.finds(&own.resolve(), Method::DebugFile);
        } else {
            own.finds_nothing();
        }
    }
}

#[test]
fn a_debug_file_of_another_build() {
    let own = Fixture::new();
    let other = Fixture::of(&CODE.replace("main", "another(void) { return 1; } int main"));
    let debug = own.debug_file(&own.container, &own.by_build_id());
    symbols::debug_file(&other.program, &debug).unwrap();
    own.finds_nothing();
    symbols::link(&own.stripped, &debug).unwrap();
    own.finds_nothing();
}

/// The debug file is another container's word: one that shares the program's file.
#[test]
fn a_debug_file_that_lies() {
    let own = Fixture::new();
    let debug = own.debug_file(&own.container, &own.by_build_id());
    let text = Command::new("objcopy")
        .args(["--strip-symbol=SSL_read", "--add-symbol", "SSL_read=.text:0x5,function,global"])
        .arg(&debug)
        .status();
    assert!(text.unwrap().success());
    own.finds_nothing();
    // It does not hide what the host knows.
    own.debug_file(&own.host, &own.by_build_id());
    own.finds(&own.resolve(), Method::DebugFile);
}

/// Links lead where they would in the container.
#[test]
fn links_do_not_leave_the_root() {
    let own = Fixture::new();
    let outside = own.debug_file(&own.folder, "outside.debug");
    let place = own.container.path().join(own.by_build_id());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&outside, &place).unwrap();
    own.finds_nothing();
    fs::remove_file(&place).unwrap();
    let inside = own.debug_file(&own.container, "inside.debug");
    std::os::unix::fs::symlink("/inside.debug", &place).unwrap();
    assert!(inside.exists());
    own.finds(&own.resolve(), Method::DebugFile);
}

#[test]
fn packed() {
    let own = Fixture::new();
    symbols::pack(&own.program, &own.stripped).unwrap();
    own.finds(&own.resolve(), Method::GnuDebugdata);
}

#[test]
fn given() {
    let own = Fixture::new();
    let id = symbols::build_id(&own.program).unwrap();
    let functions = symbols::functions(&own.program, &[]).unwrap();
    let give = |read: u64| {
        let json =
            serde_json::json!({ &id: { "SSL_read": read, "SSL_write": functions["SSL_write"] } });
        let mut given = Given::default();
        given.add(json.to_string().as_bytes()).unwrap();
        own.resolve_with(given)
    };
    own.finds(&give(functions["SSL_read"]), Method::Symbols);
    // In the middle of an instruction, or of nothing.
    for wrong in [functions["SSL_read"] + 1, 0, u64::MAX] {
        assert!(probes(&give(wrong)).is_empty(), "{wrong:#x}");
    }
}

#[test]
fn what_is_packed_is_unpacked_within_bounds() {
    let packed = || {
        let folder = TempDir::new().unwrap();
        let zeros = folder.path().join("zeros");
        File::create(&zeros).unwrap().set_len(128 << 20).unwrap();
        [&["-0"][..], &["-6"], &["-9"]].map(|flags| {
            let mut xz = Command::new("xz");
            let output = xz.args(["--stdout"]).args(flags).arg(&zeros).output().unwrap();
            let mut made = Made::new(0x4000);
            made.add(".gnu_debugdata", SHT_PROGBITS.0, &output.stdout, 0);
            let mut cut = Made::new(0x4000);
            cut.add(".gnu_debugdata", SHT_PROGBITS.0, &output.stdout[..1000], 0);
            [made.finish([7; 20]), cut.finish([7; 20])]
        })
    };
    let name = "resolve::tests::layers::what_is_packed_is_unpacked_within_bounds";
    within(64 << 20, name, packed, |files| {
        for file in files.iter().flatten() {
            let (found, read, _) = measured(&mut Resolver::default(), file);
            assert_eq!(found, Resolution::Unrelated);
            assert!(read < 1 << 20, "{read} bytes read");
        }
    });
}

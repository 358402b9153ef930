//! Plans of what is probed near the end of a call that reads, held against a program that reads in
//! every way: each call of the function is executed step by step from its first instruction to
//! its return, and what a probe would see on the way must be what the call was given and gave.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use libc::user_regs_struct;
use tempfile::TempDir;
use tlstap_ebpf::{Function, Places};
use tlstap_tests::libraries::Library;

use super::{
    super::ends::{self, Ends},
    BASE, Bytes,
    property::SYSTEM,
    trace::{self, get, mapping, request, wait},
};
use crate::resolve::{Resolution, elf::Elf, families, resolve, source::Source};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/reads.c");

/// `int3`
const BREAKPOINT: u8 = 0xcc;

/// A program with a library of the family.
struct Program {
    path: PathBuf,
    /// The file that the library is in.
    image: PathBuf,
}

/// Compiles it; the functions that are called are in the headers of all versions.
fn compile(path: PathBuf, libraries: &[String]) -> PathBuf {
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-w", "-o"]).arg(&path).arg(SOURCE).args(libraries);
    assert!(compiler.status().unwrap().success(), "{path:?} cannot be compiled");
    path
}

/// With the library of this machine.
#[expect(clippy::disallowed_methods, reason = "a path of this machine")]
fn shared(made: &Path) -> Program {
    Program {
        path: compile(made.join("shared"), &["-lssl", "-lcrypto"].map(str::to_owned)),
        image: Path::new(SYSTEM).join("libssl.so.3").canonicalize().unwrap(),
    }
}

/// With static builds of the oldest and newest that are supported, too.
fn programs(made: &Path) -> Vec<Program> {
    let others = [Library::OpenSsl111, Library::OpenSsl3].map(|library| {
        let mut libraries = library.linked().unwrap().libraries;
        libraries.push("-lpthread".to_owned());
        let path = compile(made.join(format!("{library:?}")), &libraries);
        Program { image: path.clone(), path }
    });
    [shared(made)].into_iter().chain(others).collect()
}

/// What a probe sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    object: u64,
    buffer: u64,
    length: u64,
    result: i32,
}

#[expect(clippy::cast_possible_truncation, reason = "an `int`")]
const fn low(register: u64) -> i32 {
    register as i32
}

/// What is seen at a site: nothing, when nothing was moved or another call is meant.
fn seen(now: &user_regs_struct, places: Places) -> Option<Seen> {
    let held = |number: u8| {
        let all = [
            now.rax, now.rcx, now.rdx, now.rbx, now.rsp, now.rbp, now.rsi, now.rdi, now.r8, now.r9,
            now.r10, now.r11, now.r12, now.r13, now.r14, now.r15,
        ];
        all[usize::from(number)]
    };
    let Places { object, buffer, length, zero } = places;
    let [object, buffer, length] = [object, buffer, length].map(held);
    let meant = zero.is_none_or(|zero| low(held(zero)) == 0);
    let result = low(now.rax);
    (meant && result > 0).then_some(Seen { object, buffer, length, result })
}

/// The program while it runs, stopped at the first instruction of the function and at the sites.
struct Run {
    child: Child,
    memory: File,
    function: u64,
    sites: BTreeMap<u64, Places>,
    replaced: BTreeMap<u64, u8>,
    /// The sites at which something was seen.
    told: BTreeSet<u64>,
    /// Calls that moved something, and others.
    calls: [usize; 2],
}

impl Run {
    fn of(program: &Program, function: u64, ends: &Ends) -> Self {
        let mut child = Command::new(&program.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Everything is loaded when it says so.
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id();
        request(libc::PTRACE_SEIZE, pid, 0, libc::PTRACE_O_EXITKILL.into());
        request(libc::PTRACE_INTERRUPT, pid, 0, 0);
        wait(pid);
        let base = mapping(pid, program.image.to_str().unwrap()).unwrap();
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let sites = ends.sites.iter().map(|&(address, places)| (base + address, places)).collect();
        let mut run = Self {
            child,
            memory: memory.unwrap(),
            function: base + function,
            sites,
            replaced: BTreeMap::new(),
            told: BTreeSet::new(),
            calls: [0; 2],
        };
        let stops: Vec<_> = run.sites.keys().copied().chain([run.function]).collect();
        for address in stops {
            let [byte] = run.read(address);
            run.replaced.insert(address, byte);
            run.write(address, BREAKPOINT);
        }
        run
    }

    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, address).unwrap();
        bytes
    }

    fn write(&self, address: u64, byte: u8) {
        self.memory.write_all_at(&[byte], address).unwrap();
    }

    /// Lets it run to its end; gives what it has printed.
    fn finish(mut self) -> (Self, String) {
        let pid = self.child.id();
        self.child.stdin.take().unwrap().write_all(b"!").unwrap();
        request(libc::PTRACE_CONT, pid, 0, 0);
        while let Some(now) = stopped(pid) {
            let address = now.rip - 1;
            let here = user_regs_struct { rip: address, ..now };
            trace::set(pid, &here);
            if address == self.function {
                self.call(&here);
            } else {
                // Another function came here.
                assert_eq!(seen(&here, self.sites[&address]), None, "at {address:#x}");
                self.step(&here);
            }
            request(libc::PTRACE_CONT, pid, 0, 0);
        }
        let mut printed = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (self, printed)
    }

    /// Executes one instruction, the one that a breakpoint stands on too.
    fn step(&self, now: &user_regs_struct) -> user_regs_struct {
        let pid = self.child.id();
        let replaced = self.replaced.get(&now.rip);
        if let Some(&byte) = replaced {
            self.write(now.rip, byte);
        }
        request(libc::PTRACE_SINGLESTEP, pid, 0, 0);
        assert_eq!(wait(pid), libc::SIGTRAP);
        if replaced.is_some() {
            self.write(now.rip, BREAKPOINT);
        }
        get(pid)
    }

    /// Follows a call of the function to its return.
    fn call(&mut self, called: &user_regs_struct) {
        let back = u64::from_ne_bytes(self.read(called.rsp));
        let (mut now, mut told) = (*called, Vec::new());
        loop {
            if let Some(&places) = self.sites.get(&now.rip)
                && let Some(seen) = seen(&now, places)
            {
                let moved = u64::from_ne_bytes(self.read(seen.length));
                told.push((now.rip, seen, moved));
            }
            now = self.step(&now);
            if now.rip == back && now.rsp == called.rsp + 8 {
                break;
            }
        }
        let result = low(now.rax);
        let Some(&(site, seen, moved)) = told.first() else {
            assert!(result <= 0, "a call that moved something was not seen");
            self.calls[1] += 1;
            return;
        };
        let (object, buffer, length) = (called.rdi, called.rsi, called.rcx);
        assert_eq!(seen, Seen { object, buffer, length, result });
        assert_eq!(moved, u64::from_ne_bytes(self.read(called.rcx)));
        assert_eq!(told.len(), 1, "seen more than once");
        self.told.insert(site);
        self.calls[0] += 1;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registers where it stopped at a breakpoint; `None` when it ended.
fn stopped(pid: u32) -> Option<user_regs_struct> {
    let (_, status) = trace::any();
    if !libc::WIFSTOPPED(status) {
        assert_eq!(status, 0, "it failed");
        return None;
    }
    assert_eq!(libc::WSTOPSIG(status), libc::SIGTRAP);
    Some(get(pid))
}

/// The functions that reads end in, which are one, and what is planned for it.
fn planned(image: &Path) -> (u64, Ends) {
    let source = Source::new(File::open(image).unwrap());
    let elf = Elf::parse(&source).unwrap();
    let Resolution::Library { probes, .. } = resolve(&File::open(image).unwrap()) else {
        panic!("{image:?} is no library");
    };
    let functions = families::reads(&elf).unwrap();
    // QUIC has one of its own, which is followed from entry to return.
    let mut plans = functions
        .iter()
        .filter_map(|&function| ends::plan(&elf, function).map(|ends| (function, ends)));
    let planned = plans.next().unwrap();
    assert!(plans.next().is_none(), "{image:?}");
    let ends = probes.iter().filter(|probe| probe.function == Function::ReadEnd);
    assert_eq!(ends.count(), planned.1.sites.len());
    planned
}

/// What a program does is not what such a plan says.
fn belie(change: fn(&mut Ends)) {
    let made = TempDir::new().unwrap();
    let program = shared(made.path());
    let (function, mut ends) = planned(&program.image);
    change(&mut ends);
    Run::of(&program, function, &ends).finish();
}

#[test]
#[should_panic(expected = "a call that moved something was not seen")]
fn a_missing_site_is_found() {
    belie(|ends| {
        ends.sites.pop();
    });
}

#[test]
#[should_panic(expected = "left == right")]
fn a_wrong_argument_is_found() {
    belie(|ends| ends.sites.iter_mut().for_each(|(_, places)| places.buffer = places.object));
}

#[test]
#[should_panic(expected = "left: Some(Seen")]
fn a_call_of_another_function_is_found() {
    belie(|ends| ends.sites.iter_mut().for_each(|(_, places)| places.zero = None));
}

/// `push rbx; push rbp; push r12; mov rbx, rdi; mov rbp, rsi; mov r12, rcx; call [rax]; test eax, eax;
/// jle` to the next, then what is given.
fn code(behind: &[u8]) -> Vec<u8> {
    const BEFORE: [u8; 19] = [
        0x53, 0x55, 0x41, 0x54, 0x48, 0x89, 0xfb, 0x48, 0x89, 0xf5, 0x49, 0x89, 0xcc, 0xff, 0x10,
        0x85, 0xc0, 0x7e, 0,
    ];
    [&BEFORE, behind].concat()
}

/// `pop r12; pop rbp; pop rbx; ret`
const LEAVE: [u8; 5] = [0x41, 0x5c, 0x5d, 0x5b, 0xc3];

#[test]
fn the_first_place_that_tells_is_taken() {
    let places = Places { object: 3, buffer: 5, length: 12, zero: None };
    let expect = Ends { function: BASE, sites: vec![(BASE + 17, places)] };
    assert_eq!(ends::plan(&Bytes(&code(&LEAVE)), BASE), Some(expect));
}

#[test]
fn what_is_not_certain_is_not_planned() {
    let refused = |code: &[u8]| assert_eq!(ends::plan(&Bytes(code), BASE), None, "{code:02x?}");
    let then = |instruction: &[u8]| code(&[instruction, &LEAVE].concat());
    // call [rax]; mov eax, 1; xor eax, eax; jmp back; jmp rax; ud2
    refused(&then(&[0xff, 0x10]));
    refused(&then(&[0xb8, 1, 0, 0, 0]));
    refused(&then(&[0x31, 0xc0]));
    refused(&then(&[0xeb, 0xea]));
    refused(&then(&[0xff, 0xe0]));
    refused(&then(&[0x0f, 0x0b]));
    // Each argument given up before the call, by xor ebx, ebx; xor ebp, ebp; xor r12d, r12d
    for gone in [&[0x31, 0xdb][..], &[0x31, 0xed], &[0x45, 0x31, 0xe4]] {
        let whole = code(&LEAVE);
        let (before, behind) = whole.split_at(13);
        refused(&[before, gone, behind].concat());
    }
    // A half of an argument, by mov ebp, esi.
    let mut half = code(&LEAVE);
    half.splice(7..10, [0x89, 0xf5]);
    refused(&half);
}

/// `mov r8, rcx; xor ecx, ecx; jmp` behind it, where the length is the fifth argument.
#[test]
fn another_function_is_followed_with_its_arguments() {
    let mut inner = code(&LEAVE);
    // mov r12, r8; mov r13d, ecx, which is not kept here.
    inner.splice(10..13, [0x4d, 0x89, 0xc4]);
    let jump = [0x49, 0x89, 0xc8, 0x31, 0xc9, 0xeb, 0];
    let all = [&jump[..], &inner].concat();
    assert_eq!(ends::plan(&Bytes(&all), BASE), None, "the 0 is not known any more");
    inner.splice(10..13, [0x4d, 0x89, 0xc4, 0x41, 0x89, 0xcd]);
    let all = [&jump[..], &inner].concat();
    let places = Places { object: 3, buffer: 5, length: 12, zero: Some(13) };
    let expect = Ends { function: BASE + 7, sites: vec![(BASE + 27, places)] };
    assert_eq!(ends::plan(&Bytes(&all), BASE), Some(expect));
}

#[test]
fn a_call_that_reads_is_seen_once_near_its_end() {
    let made = TempDir::new().unwrap();
    for program in programs(made.path()) {
        let (function, ends) = planned(&program.image);
        let (run, printed) = Run::of(&program, function, &ends).finish();
        println!("{}: {:x?}, {:?}", program.image.display(), ends.sites, run.calls);
        assert_eq!(printed.trim(), run.calls[0].to_string());
        assert!(run.calls[1] > 4, "too few calls failed");
        assert_eq!(run.told.len(), run.sites.len(), "not all sites were needed");
    }
}

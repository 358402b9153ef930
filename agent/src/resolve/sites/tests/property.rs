//! Every plan for every exported function of the libraries on this machine, held against what the
//! function does: executed step by step from its first instruction, it must come to the site with
//! all that is needed as it was, and not come there again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use iced_x86::{Decoder, DecoderOptions, Mnemonic};
use libc::user_regs_struct;
use tempfile::TempDir;
use tlstap_tests::libraries::Library;

use super::{
    super::{Architecture, Class, Code, Extent, Needs, Site, plan, prologue},
    machine::{Image, Machine, RETURNED, Stepped},
    *,
};
use crate::resolve::{Method, elf::Elf, source::Source};

/// Where Debian has its libraries.
pub(super) const SYSTEM: &str = "/usr/lib/x86_64-linux-gnu";

const LIBRARIES: [&str; 8] = [
    "libssl.so.3",
    "libcrypto.so.3",
    "libgnutls.so.30",
    "libmbedtls.so.14",
    "libnspr4.so",
    "libnss3.so",
    "libssl3.so",
    "libwolfssl.so.35",
];

/// How often a function is to come to its site.
const REACHED: usize = 6;

/// How often it is executed for that: with arguments that are no pointers it may fault before.
const TRIALS: usize = 300;

/// Most instructions to a site.
const TO_SITE: usize = 32;

/// Instructions that are executed behind a site, to see whether it is reached again, and how often
/// so far.
const BEHIND: usize = 60;
const FAR: usize = 2;

/// Pseudo-random numbers, the same each time: SplitMix64 (Steele et al., OOPSLA 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// What an argument may be: nothing, a pointer, a number.
    fn argument(&mut self, data: u64) -> u64 {
        match self.next() % 8 {
            0 => 0,
            1 => self.next() % 64,
            2 => self.next() >> 32,
            3 => u64::MAX,
            4 => self.next(),
            _ => data + self.next() % 64 * 8,
        }
    }

    /// The registers at a call.
    pub(super) fn registers(&mut self, data: u64) -> user_regs_struct {
        // The flags that branches look at, and those that are always set.
        let eflags = self.next() & 0x8d5 | 0x202;
        // SAFETY: plain integers.
        let zero: user_regs_struct = unsafe { std::mem::zeroed() };
        user_regs_struct {
            rdi: self.argument(data),
            rsi: self.argument(data),
            rdx: self.argument(data),
            rcx: self.argument(data),
            r8: self.argument(data),
            r9: self.argument(data),
            rax: self.next(),
            rbx: self.next(),
            rbp: self.next(),
            r10: self.next(),
            r11: self.next(),
            r12: self.next(),
            r13: self.next(),
            r14: self.next(),
            r15: self.next(),
            eflags,
            ..zero
        }
    }
}

/// How a function belies a plan.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// It returned, or went on, without coming to the site.
    PassedBy,
    /// An argument is another, by its number.
    Argument(usize),
    /// The stack pointer is not where the return address is.
    Stack { moved: i64, word: Option<u64> },
    /// It came to the site more often than it was called.
    Again,
}

/// Executes a function with some registers. Whether it came to the site at all: it may fault before.
fn execute(
    machine: &mut Machine,
    function: u64,
    site: u64,
    needs: Needs,
    called: user_regs_struct,
) -> Result<bool, Wrong> {
    let stack = machine.enter(function, called);
    for steps in 0.. {
        let now = machine.registers();
        if now.rip == site {
            break;
        }
        if now.rip == RETURNED || steps == TO_SITE {
            return Err(Wrong::PassedBy);
        }
        match machine.step() {
            Stepped::Went => {}
            Stepped::Asks => return Err(Wrong::PassedBy),
            Stepped::Faulted => return Ok(false),
        }
    }
    let now = machine.registers();
    let arguments = |of: &user_regs_struct| [of.rdi, of.rsi, of.rdx, of.rcx, of.r8];
    let pairs = arguments(&called).into_iter().zip(arguments(&now)).take(needs.arguments);
    for (number, (called, now)) in pairs.enumerate() {
        if called != now {
            return Err(Wrong::Argument(number));
        }
    }
    let word = machine.read(stack).map(u64::from_ne_bytes);
    let in_place = word == Some(RETURNED) || word.is_some() && word == machine.trampoline();
    if needs.stack && (now.rsp != stack || !in_place) {
        return Err(Wrong::Stack { moved: now.rsp.wrapping_sub(stack).cast_signed(), word });
    }
    Ok(true)
}

/// Goes on from a site, so many steps.
fn not_again(machine: &mut Machine, function: u64, site: u64, steps: usize) -> Result<(), Wrong> {
    let mut calls = 0;
    for _ in 0..steps {
        if machine.step() != Stepped::Went {
            break;
        }
        match machine.registers().rip {
            RETURNED => break,
            rip if rip == function => calls += 1,
            rip if rip == site && calls == 0 => return Err(Wrong::Again),
            rip if rip == site => calls -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// Executes a function until it came to its site often enough. Whether it ever came there.
fn confirm(
    machine: &mut Machine,
    function: u64,
    site: u64,
    needs: Needs,
    random: &mut Random,
    wanted: usize,
) -> Result<bool, Wrong> {
    let mut reached = 0;
    for _ in 0..TRIALS {
        let called = random.registers(machine.data());
        if execute(machine, function, site, needs, called)? {
            reached += 1;
            not_again(machine, function, site, if reached <= FAR { BEHIND } else { 1 })?;
        }
        if reached == wanted {
            break;
        }
    }
    Ok(reached > 0)
}

/// An image with its functions in order: there are many.
pub(super) struct Known<'a, 'd> {
    pub(super) elf: &'a Elf<'d>,
    pub(super) functions: &'a BTreeMap<u64, (u64, &'d [u8])>,
}

impl Code for Known<'_, '_> {
    fn architecture(&self) -> Architecture {
        self.elf.architecture()
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
        self.elf.bytes(address, len)
    }

    fn begins_in(&self, addresses: &Range<u64>) -> bool {
        self.functions.range(addresses.clone()).next().is_some()
    }
}

/// What became of the functions of a library.
#[derive(Default)]
struct Tally {
    functions: usize,
    /// At the first instruction.
    first: usize,
    /// Behind it.
    behind: usize,
    unconfirmed: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { functions, first, behind, unconfirmed } = self;
        let plain = functions - first - behind;
        write!(f, "{functions} functions: {first} cheap at once, {behind} later, {plain} plain")?;
        write!(f, "; not reached: {unconfirmed:?}")
    }
}

#[test]
fn planned_sites_are_equivalent() {
    let made = TempDir::new().unwrap();
    let mut confirmed = BTreeSet::new();
    for image in images(made.path()) {
        let library = image.path();
        let file = File::open(library).unwrap();
        let source = Source::new(file);
        let elf = Elf::parse(&source).unwrap();
        let functions: BTreeMap<u64, (u64, &[u8])> = elf
            .functions()
            .filter(|symbol| symbol.method == Method::Dynsym && elf.is_text(symbol.address))
            .map(|symbol| (symbol.address, (symbol.size, symbol.name)))
            .collect();
        let code = Known { elf: &elf, functions: &functions };
        let mut machine = Machine::of(&image);
        let mut random = Random(0x7153);
        // By address. What more is needed is confirmed first; where a site is planned for `DATA` and
        // `ENTERED`, it is for `FOLLOWED`, since the same instruction is looked at.
        let mut done = BTreeSet::new();
        for needs in [FOLLOWED, DATA, ENTERED, OBJECT] {
            let mut tally = Tally { functions: functions.len(), ..Tally::default() };
            for (&address, &(size, name)) in &functions {
                let site = plan(&code, Extent { address, size }, needs);
                match site {
                    Site { class: Class::Stepped, .. } => continue,
                    // As without a plan.
                    Site { offset: 0, .. } => {
                        tally.first += 1;
                        continue;
                    }
                    _ => tally.behind += 1,
                }
                if !done.insert(address + site.offset) {
                    continue;
                }
                let start = machine.base + address;
                let name = String::from_utf8_lossy(name);
                let place = start + site.offset;
                match confirm(&mut machine, start, place, needs, &mut random, REACHED) {
                    Ok(true) => confirmed.extend(passed(&elf, address, site)),
                    Ok(false) => tally.unconfirmed.push(name.into_owned()),
                    Err(wrong) => panic!("{name} of {library:?}, {site:?}, {needs:?}: {wrong:?}"),
                }
            }
            println!("{}: {needs:?}: {tally}", library.display());
            // Some fail whatever they are given, on a global that is not set up.
            assert!(tally.unconfirmed.len() * 20 <= tally.behind, "too many: {tally}");
        }
    }
    println!("passed over: {confirmed:?}");
}

/// What lies before a site.
fn passed(elf: &Elf<'_>, address: u64, site: Site) -> Vec<Mnemonic> {
    let code = elf.bytes(address, site.offset).unwrap_or_default();
    Decoder::new(64, code, DecoderOptions::NONE).iter().map(|found| found.mnemonic()).collect()
}

/// The libraries of this machine, and programs made of static builds of others. None may be missing:
/// a plan that is not tested is not to be used.
pub(super) fn images(made: &Path) -> Vec<Image> {
    let system = LIBRARIES.iter().map(|name| Image::library(&Path::new(SYSTEM).join(name)));
    let builds = builds().iter().map(|build| Image::Program(link(build, made)));
    system.chain(builds).collect()
}

/// Static builds of other versions and lines, made once for all tests.
fn builds() -> &'static [PathBuf] {
    static BUILDS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    BUILDS
        .get_or_init(|| Library::ALL.into_iter().map(|library| library.built().unwrap()).collect())
}

/// Makes a program of a static build.
fn link(build: &Path, made: &Path) -> PathBuf {
    const ECHO: &str = "#include <unistd.h>
        int main(void) { char c; while (read(0, &c, 1) == 1 && write(1, &c, 1) == 1) {} }";
    let program = made.join(build.file_name().unwrap());
    let source = made.join("echo.c");
    fs::write(&source, ECHO).unwrap();
    let linked = Command::new("cc")
        .arg(&source)
        .args(["-pie", "-rdynamic", "-Wl,--whole-archive"])
        .args([build.join("libssl.a"), build.join("libcrypto.a")])
        .args(["-Wl,--no-whole-archive", "-lstdc++", "-lpthread", "-ldl", "-lm", "-o"])
        .arg(&program)
        .status();
    assert!(linked.unwrap().success(), "{build:?} cannot be linked");
    program
}

/// The C library of this machine, with a function in it that code can be written over.
fn room() -> (Image, u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps
        .lines()
        .find_map(|line| line.split_once('/').filter(|(_, p)| p.ends_with("libc.so.6")));
    let path = Path::new("/").join(path.unwrap().1);
    let source = Source::new(File::open(&path).unwrap());
    let elf = Elf::parse(&source).unwrap();
    let place = elf.functions().find(|symbol| symbol.name == b"strtol").unwrap().address;
    (Image::library(&path), place)
}

/// Code in the place of a function.
struct Written {
    machine: Machine,
    start: u64,
}

impl Written {
    fn new() -> Self {
        let (library, place) = room();
        let machine = Machine::of(&library);
        let start = machine.base + place;
        Self { machine, start }
    }

    /// Executes code as if it were a function with this site.
    fn run(&mut self, code: &[u8], site: u64, needs: Needs) -> Result<bool, Wrong> {
        self.machine.write(self.start, code);
        let mut random = Random(1);
        confirm(&mut self.machine, self.start, self.start + site, needs, &mut random, 40)
    }
}

#[test]
fn wrong_plans_are_found() {
    let mut written = Written::new();
    // xor edi, edi; push rbx; pop rbx; ret
    let argument = written.run(&[0x31, 0xff, 0x53, 0x5b, 0xc3], 2, FOLLOWED);
    assert_eq!(argument, Err(Wrong::Argument(0)));
    // mov r8d, 1; push rbx; pop rbx; ret
    let argument = written.run(&[0x41, 0xb8, 1, 0, 0, 0, 0x53, 0x5b, 0xc3], 6, ENTERED);
    assert_eq!(argument, Err(Wrong::Argument(4)));
    // push rbp; push rbx; pop rbx; pop rbp; ret
    let code = [0x55, 0x53, 0x5b, 0x5d, 0xc3];
    let moved = Wrong::Stack { moved: -8, word: Some(RETURNED) };
    assert_eq!(written.run(&code, 1, FOLLOWED), Err(moved));
    assert_eq!(written.run(&code, 1, ENTERED), Ok(true));
    // mov [rsp], rax; push rbx: the return address is lost.
    let lost = written.run(&[0x48, 0x89, 0x04, 0x24, 0x53, 0x5b, 0xc3], 4, FOLLOWED);
    assert!(matches!(lost, Err(Wrong::Stack { moved: 0, .. })), "{lost:?}");
    // test edi, edi; je over; push rbx; pop rbx; over: ret
    let code = [0x85, 0xff, 0x74, 2, 0x53, 0x5b, 0xc3];
    assert_eq!(written.run(&code, 4, FOLLOWED), Err(Wrong::PassedBy));
    assert_eq!(written.run(&code, 2, FOLLOWED), Ok(true));
    // nop; again: push rbx; pop rbx; dec esi; jne again; ret
    let code = [0x90, 0x53, 0x5b, 0xff, 0xce, 0x75, 0xfa, 0xc3];
    assert_eq!(written.run(&code, 1, FOLLOWED), Err(Wrong::Again));
    // The same from the first instruction on is many calls.
    let code = [0x85, 0xf6, 0x53, 0x5b, 0xff, 0xce, 0x75, 0xf8, 0xc3];
    assert_eq!(written.run(&code, 2, FOLLOWED), Ok(true));
}

/// Each instruction that is passed over, some of them several times.
const OVER: [&[u8]; 16] = [
    // endbr64; nop of two bytes; test edi, edi; cmp rsp, rdi
    &[0xf3, 0x0f, 0x1e, 0xfa],
    &[0x66, 0x90],
    &[0x85, 0xff],
    &[0x48, 0x39, 0xfc],
    // mov eax, edi; mov rax, fs:0x28; movsxd rax, esi; movsx eax, dil; movzx eax, dil
    &[0x89, 0xf8],
    &[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0],
    &[0x48, 0x63, 0xc6],
    &[0x40, 0x0f, 0xbe, 0xc7],
    &[0x40, 0x0f, 0xb6, 0xc7],
    // lea rax, [rdi+8]; lea r12, [rsp-0x80]; xor eax, eax; and eax, 1; or eax, 1; add rax, 1
    &[0x48, 0x8d, 0x47, 8],
    &[0x4c, 0x8d, 0x64, 0x24, 0x80],
    &[0x31, 0xc0],
    &[0x83, 0xe0, 1],
    &[0x83, 0xc8, 1],
    &[0x48, 0x83, 0xc0, 1],
    // sub rax, 1
    &[0x48, 0x83, 0xe8, 1],
];

/// Each instruction that is probed, and a way to return.
const SITES: [&[u8]; 7] = [
    // push rbx; pop rbx; ret. push r12; pop r12; ret. call the next; pop rax; ret
    &[0x53, 0x5b, 0xc3],
    &[0x41, 0x54, 0x41, 0x5c, 0xc3],
    &[0xe8, 0, 0, 0, 0, 0x58, 0xc3],
    // jmp to the next; ret. je to the next, short and near; ret. nop; ret
    &[0xeb, 0, 0xc3],
    &[0x74, 0, 0xc3],
    &[0x0f, 0x84, 0, 0, 0, 0, 0xc3],
    &[0x90, 0xc3],
];

#[test]
fn every_family_is_confirmed() {
    let mut written = Written::new();
    let mut passed = BTreeSet::new();
    for (over, site) in OVER.iter().flat_map(|over| SITES.map(|site| (*over, site))) {
        let code = [over, site].concat();
        let expect = Site { offset: over.len().try_into().unwrap(), class: Class::Emulated };
        assert_eq!(plan(&Bytes(&code), extent(&code), FOLLOWED), expect, "{code:02x?}");
        assert_eq!(written.run(&code, expect.offset, FOLLOWED), Ok(true), "{code:02x?}");
        passed.extend(Decoder::new(64, over, DecoderOptions::NONE).iter().map(|i| i.mnemonic()));
    }
    assert_eq!(passed, BTreeSet::from(prologue::PASSED));
}

#[test]
fn a_frame_of_its_own_is_confirmed() {
    // sub rsp, 0x18; mov rax, fs:0x28; mov [rsp+8], rax; xor eax, eax; js; add rsp, 0x18; ret
    let code = [
        0x48, 0x83, 0xec, 0x18, 0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, 0x48, 0x89, 0x44,
        0x24, 8, 0x31, 0xc0, 0x78, 0, 0x48, 0x83, 0xc4, 0x18, 0xc3,
    ];
    let site = Site { offset: 20, class: Class::Emulated };
    assert_eq!(plan(&Bytes(&code), extent(&code), ENTERED), site);
    let mut written = Written::new();
    assert_eq!(written.run(&code, site.offset, ENTERED), Ok(true));
    let moved = Wrong::Stack { moved: -0x18, word: Some(RETURNED) };
    assert_eq!(written.run(&code, site.offset, FOLLOWED), Err(moved));
}

//! A process with a library in it, whose functions are executed step by step.
//!
//! It is a child of the test, made for this, which gives back what it reads.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use libc::user_regs_struct;

use super::trace::{self, get, mapping, request, wait};

/// Bytes of memory that functions may do with as they like: their stack, then data.
const ARENA: u64 = 0x1_0000;
const STACK: u64 = 0xc000;

/// `syscall`.
const SYSTEM_CALL: [u8; 2] = [0x0f, 0x05];

/// Where functions return to: no address.
pub(super) const RETURNED: u64 = 0x5151_5151_5000;

/// What the process did in one step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    Went,
    /// It was about to ask the kernel for something, which is not done.
    Asks,
    Faulted,
}

/// What is executed.
#[derive(Debug)]
pub(super) enum Image {
    /// A shared library, in `cat`.
    Library(PathBuf),
    /// A program that does the same.
    Program(PathBuf),
}

impl Image {
    /// The library with this path, which may be a link.
    #[expect(clippy::disallowed_methods, reason = "a path of this machine")]
    pub(super) fn library(path: &Path) -> Self {
        let real = path.canonicalize();
        Self::Library(real.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// As the kernel shows it.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Library(path) | Self::Program(path) => path,
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Library(path) => {
                let mut command = Command::new("cat");
                command.env("LD_PRELOAD", path);
                command
            }
            Self::Program(path) => Command::new(path),
        }
    }
}

/// The stopped process.
pub(super) struct Machine {
    child: Child,
    memory: File,
    /// What is added to the image's addresses.
    pub(super) base: u64,
    /// As the process was when it was stopped.
    registers: user_regs_struct,
    arena: u64,
}

impl Machine {
    pub(super) fn of(image: &Image) -> Self {
        let mut child =
            image.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // When it answers, everything is loaded.
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let pid = child.id();
        request(libc::PTRACE_SEIZE, pid, 0, libc::PTRACE_O_EXITKILL.into());
        request(libc::PTRACE_INTERRUPT, pid, 0, 0);
        wait(pid);
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let base = mapping(pid, image.path().to_str().unwrap()).unwrap();
        let registers = get(pid);
        let mut machine = Self { child, memory: memory.unwrap(), base, registers, arena: 0 };
        // It was stopped in a system call.
        machine.arena = machine.map_arena(registers.rip - 2);
        machine
    }

    /// A program before its first instruction, of which one function lies at this address and, in
    /// the file, at this offset.
    pub(super) fn started(program: &Path, function: u64, offset: u64) -> Self {
        let child = trace::traced(program);
        let pid = child.id();
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let base = trace::bias(pid, program, function, offset);
        let registers = get(pid);
        let mut machine = Self { child, memory: memory.unwrap(), base, registers, arena: 0 };
        let first = machine.read::<2>(registers.rip).unwrap();
        machine.write(registers.rip, &SYSTEM_CALL);
        machine.arena = machine.map_arena(registers.rip);
        machine.write(registers.rip, &first);
        machine
    }

    /// Has the process allocate memory by the system call at an address.
    fn map_arena(&mut self, here: u64) -> u64 {
        assert_eq!(self.read::<2>(here), Some(SYSTEM_CALL));
        let call = user_regs_struct {
            rip: here,
            rax: u64::try_from(libc::SYS_mmap).unwrap(),
            orig_rax: u64::MAX,
            rdi: 0,
            rsi: ARENA,
            rdx: u64::try_from(libc::PROT_READ | libc::PROT_WRITE).unwrap(),
            r10: u64::try_from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).unwrap(),
            r8: u64::MAX,
            r9: 0,
            ..self.registers
        };
        self.set(&call);
        request(libc::PTRACE_SINGLESTEP, self.child.id(), 0, 0);
        wait(self.child.id());
        let arena = self.registers().rax;
        assert!(arena.is_multiple_of(0x1000) && arena > 0, "no memory: {arena:#x}");
        arena
    }

    /// An address in the middle of memory that holds such addresses only.
    pub(super) const fn data(&self) -> u64 {
        self.arena + STACK + (ARENA - STACK) / 2
    }

    /// Makes the process enter a function, with these registers beside. Gives the stack pointer.
    pub(super) fn enter(&mut self, function: u64, registers: user_regs_struct) -> u64 {
        let pointers = usize::try_from((ARENA - STACK) / 8).unwrap();
        self.write(self.arena + STACK, &self.data().to_ne_bytes().repeat(pointers));
        // As it is behind a call: 8 bytes off a multiple of 16.
        let stack = self.arena + STACK - 0x1008;
        self.write(stack, &RETURNED.to_ne_bytes());
        let old = self.registers;
        self.set(&user_regs_struct {
            rip: function,
            rsp: stack,
            orig_rax: u64::MAX,
            cs: old.cs,
            ss: old.ss,
            ds: old.ds,
            es: old.es,
            fs: old.fs,
            gs: old.gs,
            fs_base: old.fs_base,
            gs_base: old.gs_base,
            ..registers
        });
        stack
    }

    pub(super) fn step(&mut self) -> Stepped {
        if self.read(self.registers().rip) == Some(SYSTEM_CALL) {
            return Stepped::Asks;
        }
        request(libc::PTRACE_SINGLESTEP, self.child.id(), 0, 0);
        match wait(self.child.id()) {
            libc::SIGTRAP => Stepped::Went,
            _ => Stepped::Faulted,
        }
    }

    pub(super) fn registers(&self) -> user_regs_struct {
        get(self.child.id())
    }

    /// What stands in the place of a return address when somebody on this machine, a tlstap that
    /// traces everything, has a uretprobe on the function.
    pub(super) fn trampoline(&self) -> Option<u64> {
        mapping(self.child.id(), "[uprobes]")
    }

    pub(super) fn set(&mut self, registers: &user_regs_struct) {
        trace::set(self.child.id(), registers);
    }

    pub(super) fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, address).ok().map(|()| bytes)
    }

    /// Writes to memory, also where the process could not: the library's code is a copy then.
    pub(super) fn write(&mut self, address: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, address).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The exits of functions of Go, held against programs that run to their end: whenever a call is
//! over, it must have come to one of the planned returns.
//!
//! Breakpoints are on the sites, and what they replace is done as the kernel would do it. A call that
//! was left in another way is seen by the next one that is not deeper in the same goroutine's stack.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, Command},
};

use libc::{pid_t, user_regs_struct};

use super::{
    super::{property::Known, trace},
    calls::{Calls, Function, Place},
    *,
};

/// `int3`
const BREAKPOINT: u8 = 0xcc;

/// Where a goroutine holds the end of its stack (`g.stack.hi`, runtime/runtime2.go).
const STACK_END: u64 = 8;

/// The flags that `jbe` looks at: carry and zero.
const BELOW_OR_EQUAL: u64 = 0x41;

/// Who is left without a return: `caught` recovers what it panics with.
const PANICS: &[&str] = &["main.thrown"];

/// What stands at a breakpoint.
#[derive(Clone, Copy)]
enum Point {
    /// The branch behind the stack check, with both ways that it leads.
    Entry {
        function: usize,
        grows: u64,
        goes_on: u64,
    },
    Exit {
        function: usize,
    },
}

/// A program that runs, with breakpoints.
struct Run {
    child: Child,
    ended: bool,
    memory: File,
    /// By address, with the byte that the breakpoint has replaced.
    points: HashMap<u64, (Point, u8)>,
    calls: Calls,
}

impl Run {
    /// The program before its first instruction, with breakpoints on some of the planned exits.
    fn of(program: &Path, elf: &Elf<'_>, some: fn(&[Site]) -> &[Site]) -> Self {
        let functions = functions(elf);
        let child = trace::traced(program);
        let (&one, _) = functions.first_key_value().unwrap();
        let base = trace::bias(child.id(), program, one, elf.code_offset(one).unwrap());
        let path = format!("/proc/{}/mem", child.id());
        let memory = File::options().read(true).write(true).open(path).unwrap();
        let (points, calls) = (HashMap::new(), Calls::default());
        let mut run = Self { child, ended: false, memory, points, calls };
        let code = Known { elf, functions: &functions };
        for (&address, &(size, name)) in &functions {
            // The scheduler's own functions switch stacks instead of returning.
            if name.starts_with(b"runtime.") {
                continue;
            }
            if let Some(mut plan) = plan(&code, Extent { address, size }) {
                plan.exits = some(&plan.exits).to_vec();
                run.look_at(
                    String::from_utf8_lossy(name).into(),
                    base.wrapping_add(address),
                    &plan,
                );
            }
        }
        run
    }

    fn look_at(&mut self, name: String, start: u64, plan: &Plan) {
        let function = self.calls.functions.len();
        let site = start + plan.entry.offset;
        let (grows, goes_on) = self.ways(site);
        let entry = (site, Point::Entry { function, grows, goes_on });
        let exits = plan.exits.iter().map(|exit| (start + exit.offset, Point::Exit { function }));
        let points: Vec<_> = [entry].into_iter().chain(exits).collect();
        for &(address, point) in &points {
            let [replaced] = self.read(address);
            self.points.insert(address, (point, replaced));
            self.memory.write_all_at(&[BREAKPOINT], address).unwrap();
        }
        let points = points.into_iter().map(|(address, _)| address).collect();
        self.calls.functions.push(Function::new(name, points));
    }

    /// Where a `jbe` leads, taken and not taken.
    fn ways(&self, address: u64) -> (u64, u64) {
        match self.read::<6>(address) {
            [0x76, short, ..] => {
                let next = address + 2;
                (next.wrapping_add_signed(short.cast_signed().into()), next)
            }
            [0x0f, 0x86, near @ ..] => {
                let next = address + 6;
                (next.wrapping_add_signed(i32::from_le_bytes(near).into()), next)
            }
            other => panic!("{other:02x?} is no jbe"),
        }
    }

    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read_exact_at(&mut bytes, address).unwrap();
        bytes
    }

    fn word(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.memory.read_exact_at(&mut bytes, address)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Lets it run to its end, and gives its exit status. When the program ends, threads are gone
    /// whatever they are at: what is asked of them fails then.
    fn finish(&mut self) -> i32 {
        let main = pid_t::try_from(self.child.id()).unwrap();
        trace::request(libc::PTRACE_CONT, self.child.id(), 0, 0);
        loop {
            let (thread, status) = trace::any();
            if !libc::WIFSTOPPED(status) {
                if thread == main {
                    self.ended = true;
                    return status;
                }
                continue;
            }
            let tid = u32::try_from(thread).unwrap();
            let signal = match libc::WSTOPSIG(status) {
                // With this a new thread begins, for its tracer.
                libc::SIGSTOP => 0,
                libc::SIGTRAP if status >> 16 != 0 => 0,
                libc::SIGTRAP => {
                    let _ = self.hit(tid);
                    0
                }
                signal => signal,
            };
            let _ = trace::try_request(libc::PTRACE_CONT, tid, 0, signal.into());
        }
    }

    /// Does what a breakpoint has replaced.
    fn hit(&mut self, thread: u32) -> io::Result<()> {
        let now = trace::try_get(thread)?;
        let (point, _) = self.points[&(now.rip - 1)];
        let goroutine = now.r14;
        let depth = self.word(goroutine + STACK_END)?.wrapping_sub(now.rsp);
        let place = Place { goroutine, depth };
        let (after, over) = match point {
            Point::Entry { function, grows, goes_on } => {
                let small = now.eflags & BELOW_OR_EQUAL != 0;
                let over = self.calls.enter(function, place, small);
                (user_regs_struct { rip: if small { grows } else { goes_on }, ..now }, over)
            }
            Point::Exit { function } => {
                let over = self.calls.exit(function, place);
                (user_regs_struct { rip: self.word(now.rsp)?, rsp: now.rsp + 8, ..now }, over)
            }
        };
        trace::try_set(thread, &after)?;
        for address in over {
            let (_, replaced) = self.points[&address];
            self.memory.write_all_at(&[replaced], address)?;
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a program to its end, which must be as without breakpoints.
fn run(program: &Path, some: fn(&[Site]) -> &[Site]) -> Run {
    let alone = Command::new(program).output().unwrap();
    assert!(alone.status.success(), "{alone:?}");
    let source = Source::new(File::open(program).unwrap());
    let elf = Elf::parse(&source).unwrap();
    let mut run = Run::of(program, &elf, some);
    let status = run.finish();
    let mut output = Vec::new();
    run.child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(status, 0, "{status:#x}");
    assert_eq!(output, alone.stdout);
    let calls = &run.calls;
    let called = calls.functions.iter().filter(|function| function.entered > 0).count();
    println!("{}: {called} functions, {} calls returned", program.display(), calls.returned);
    let left: usize = calls.left.values().sum();
    println!("    begun again: {}; left otherwise: {left}", calls.begun_again);
    assert!(called > 300 && calls.begun_again > 2, "too little was called");
    run
}

#[test]
fn calls_end_at_the_planned_returns() {
    for program in programs() {
        let left = &run(program, |exits| exits).calls.left;
        assert!(left.keys().eq(PANICS), "{left:?}");
    }
}

#[test]
fn a_missing_return_is_found() {
    let program = &programs()[0];
    let left =
        &run(program, |exits| exits.split_first().map_or(exits, |(_, rest)| rest)).calls.left;
    assert!(left.len() > 100, "{} functions", left.len());
}

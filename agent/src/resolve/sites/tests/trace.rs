//! What the kernel is asked for about a process that is traced (ptrace(2)).

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use libc::{c_long, pid_t, user_regs_struct};

/// A child that is stopped before its program's first instruction.
pub(super) fn traced(program: &Path) -> Child {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let child = command.spawn().unwrap();
    assert_eq!(wait(child.id()), libc::SIGTRAP);
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACECLONE;
    request(libc::PTRACE_SETOPTIONS, child.id(), 0, options.into());
    child
}

/// What is added to the addresses of a program, by the place of one of them in the file.
pub(super) fn bias(pid: u32, program: &Path, address: u64, offset: u64) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let place =
        maps.lines().filter(|line| line.ends_with(program.to_str().unwrap())).find_map(|line| {
            let mut fields = line.split_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let first = number(fields.nth(1)?);
            let place = number(start) + offset.checked_sub(first)?;
            (place < number(end)).then_some(place)
        });
    place.unwrap().wrapping_sub(address)
}

pub(super) fn get(pid: u32) -> user_regs_struct {
    try_get(pid).unwrap()
}

pub(super) fn try_get(pid: u32) -> io::Result<user_regs_struct> {
    // SAFETY: plain integers.
    let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
    try_request(libc::PTRACE_GETREGS, pid, 0, &raw mut registers as c_long)?;
    Ok(registers)
}

pub(super) fn set(pid: u32, registers: &user_regs_struct) {
    try_set(pid, registers).unwrap();
}

pub(super) fn try_set(pid: u32, registers: &user_regs_struct) -> io::Result<()> {
    try_request(libc::PTRACE_SETREGS, pid, 0, std::ptr::from_ref(registers) as c_long)
}

#[track_caller]
pub(super) fn request(request: libc::c_uint, pid: u32, address: c_long, data: c_long) {
    try_request(request, pid, address, data).unwrap();
}

/// Fails when the process was killed meanwhile.
pub(super) fn try_request(
    request: libc::c_uint,
    pid: u32,
    address: c_long,
    data: c_long,
) -> io::Result<()> {
    let pid = pid_t::try_from(pid).unwrap();
    // SAFETY: where the request reads or writes memory of this process, `data` is the address of a
    // structure of the kind that it takes, which lives.
    match unsafe { libc::ptrace(request, pid, address, data) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The signal that stopped the process.
#[track_caller]
pub(super) fn wait(pid: u32) -> i32 {
    let pid = pid_t::try_from(pid).unwrap();
    let mut status = 0;
    // SAFETY: `status` lives.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    assert!(waited == pid && libc::WIFSTOPPED(status), "ended: {status:#x}");
    libc::WSTOPSIG(status)
}

/// The next thing that happens to a thread of the processes that this thread traces.
pub(super) fn any() -> (pid_t, i32) {
    let mut status = 0;
    // SAFETY: `status` lives.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    assert!(thread > 0, "{}", io::Error::last_os_error());
    (thread, status)
}

/// Where the first mapping with this name lies.
pub(super) fn mapping(pid: u32, name: &str) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let line = maps.lines().find(|line| line.ends_with(name))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

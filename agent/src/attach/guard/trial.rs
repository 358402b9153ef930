//! Tries a probe on a process of the agent's own under a seccomp filter, and sees whether it lives.
//!
//! Linux 6.11 leaves a function that is probed at its return by a system call of its own, `uretprobe`
//! (ff474a78cef5), which seccomp filters do not know and most of them punish: with death, or with an error
//! that the code of the kernel in the process does not survive either. Since 6.14, and in the stable
//! kernels 6.12.14 and 6.13.3, seccomp lets it pass (cf6cb56ef244). What `uprobe` of Linux 6.18 does for
//! probes on a `nop` of five bytes (56101b69c919) is the same.
//!
//! What distributions have taken over into which version nobody can tell, so it is tried. The code that
//! is probed is in memory that only the child maps; the filter of the child kills at every system call
//! but the one that ends it.

use std::{
    ffi::{CString, c_int, c_long},
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    ptr, thread,
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
};

use crate::{
    attach::apart::{Apart, apart},
    resolve::descriptor_path,
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process lived.
    Survived,
    /// It was killed, or would be.
    Killed,
    /// It was not tried, since the user knows.
    Assumed,
    /// It could not be tried, for this reason; whether the version is that of a kernel that kills.
    Untried(String, bool),
}

impl Outcome {
    /// Whether a process could come to harm.
    pub const fn is_unsafe(&self) -> bool {
        matches!(self, Self::Killed | Self::Untried(_, true))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survived => f.write_str("a process under a seccomp filter survived it"),
            Self::Killed => f.write_str("a process under a seccomp filter does not survive it"),
            Self::Assumed => f.write_str("not tried, as was asked for"),
            Self::Untried(why, kills) => {
                let version = if *kills { "one that kills" } else { "none that is known to kill" };
                write!(f, "not tried ({why}); the kernel's version is {version}")
            }
        }
    }
}

/// Where the probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the return of a function.
    Return,
    /// On an instruction that the kernel replaces by a call of its own after the first hit.
    Nop,
}

/// A function that begins with what the kernel may replace, and returns.
#[cfg(target_arch = "x86_64")]
const CODE: &[u8] = &[0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3];
/// `nop`, `ret`.
#[cfg(target_arch = "aarch64")]
const CODE: &[u8] = &[0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];

/// How the child ends by itself.
const LIVED: c_int = 0;
/// No probe was where it should have been.
const UNPROBED: c_int = 3;
/// It was not allowed to put itself under a filter, or to map the code.
const UNFILTERED: c_int = 4;

/// Calls of the function: the first may have the kernel change what the next meet.
const CALLS: usize = 3;
/// Seconds, for what takes less than a thousandth of one.
const LIMIT: u32 = 10;

pub(super) fn run(place: Place) -> Outcome {
    attempt(place).unwrap_or_else(|error| Outcome::Untried(error.to_string(), kills_by_version()))
}

fn attempt(place: Place) -> io::Result<Outcome> {
    let code = code()?;
    let probe = Apart::new(apart(|| probe(&code, place)).flatten()?);
    let status = child(&code);
    // That takes the kernel 0.1 s.
    thread::spawn(move || drop(probe));
    let status = status?;
    if libc::WIFSIGNALED(status) {
        return match libc::WTERMSIG(status) {
            libc::SIGALRM => Err(io::Error::other("it took too long")),
            _ => Ok(Outcome::Killed),
        };
    }
    match libc::WEXITSTATUS(status) {
        LIVED => Ok(Outcome::Survived),
        UNPROBED => Err(io::Error::other("the probe was not in place")),
        _ => Err(io::Error::other("no seccomp filter could be set")),
    }
}

/// Memory with the function in it.
fn code() -> io::Result<File> {
    const NAME: &str = "tlstap-trial";
    // Before Linux 6.3 memory could be executed without being asked for.
    let memory = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::EXEC).or_else(|error| {
        if error == Errno::INVAL { memfd_create(NAME, MemfdFlags::CLOEXEC) } else { Err(error) }
    })?;
    let mut code = File::from(memory);
    code.write_all(CODE)?;
    Ok(code)
}

/// Probes the function in every process that maps it, until the descriptor is closed; what is counted
/// is of no interest.
fn probe(code: &File, place: Place) -> io::Result<OwnedFd> {
    const KIND: &str = "/sys/bus/event_source/devices/uprobe/type";
    /// `PERF_FLAG_FD_CLOEXEC`
    const CLOEXEC: c_long = 8;
    let (everybody, processor, no_group) = (-1, 0, -1);
    let path = CString::new(descriptor_path(code).into_os_string().into_vec())?;
    let attributes = Attributes {
        kind: fs::read_to_string(KIND)?.trim().parse().map_err(io::Error::other)?,
        size: u32::try_from(size_of::<Attributes>()).map_err(io::Error::other)?,
        config: u64::from(place == Place::Return),
        path: path.as_ptr() as u64,
        ..Attributes::default()
    };
    // SAFETY: the kernel reads the attributes, which have the size that they tell, and the path, which
    // outlives the call.
    let fd = unsafe {
        let attributes = &raw const attributes;
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes,
            everybody,
            processor,
            no_group,
            CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = c_int::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for this caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The beginning of `struct perf_event_attr` (include/uapi/linux/perf_event.h, `PERF_ATTR_SIZE_VER1`), for
/// a uprobe.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    /// 1 for one at the return.
    config: u64,
    sampling: [u64; 3],
    flags: u64,
    wakeup: u64,
    /// `uprobe_path`
    path: u64,
    /// `probe_offset`
    offset: u64,
}

const _: () = assert!(size_of::<Attributes>() == 72);

/// Has a child call the function under a filter; its wait status.
fn child(code: &File) -> io::Result<c_int> {
    let filter = filter();
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let descriptor = code.as_raw_fd();
    // SAFETY: the child makes raw system calls only, which are safe after a fork of a process with
    // threads, and calls the function, which is whole and takes nothing.
    let pid = unsafe {
        match libc::fork() {
            0 => libc::_exit(call(descriptor, &program)),
            pid => pid,
        }
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: the status has room; the child is ours and ends within the limit.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } != pid {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(status)
}

/// Maps the function and calls it under the filter. Gives how to end.
///
/// # Safety
///
/// Only for a process that does nothing else any more; the descriptor is that of [`CODE`].
unsafe fn call(descriptor: c_int, program: &libc::sock_fprog) -> c_int {
    let (none, executable) = (0_usize, libc::PROT_READ | libc::PROT_EXEC);
    // SAFETY: raw system calls on nothing but this process; the mapping holds the function.
    unsafe {
        libc::alarm(LIMIT);
        // A death leaves no core file.
        libc::prctl(libc::PR_SET_DUMPABLE, none, none, none, none);
        let map = libc::MAP_PRIVATE;
        let code = libc::mmap(ptr::null_mut(), CODE.len(), executable, map, descriptor, 0);
        if code == libc::MAP_FAILED {
            return UNFILTERED;
        }
        // The kernel has put a breakpoint in its place.
        if CODE.first() == Some(&code.cast::<u8>().read_volatile()) {
            return UNPROBED;
        }
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_usize, none, none, none) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, program) != 0
        {
            return UNFILTERED;
        }
        let function: extern "C" fn() = std::mem::transmute(code);
        for _ in 0..CALLS {
            function();
        }
    }
    LIVED
}

/// Kills at every system call but `exit_group`.
fn filter() -> [libc::sock_filter; 4] {
    let step = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf,
        k,
    };
    let exit = u32::try_from(libc::SYS_exit_group).unwrap_or_default();
    [
        // The number of the call is the first word of `struct seccomp_data`.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, exit),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

fn kills_by_version() -> bool {
    cfg!(target_arch = "x86_64") && kills(&rustix::system::uname().release().to_string_lossy())
}

/// Whether a kernel that calls itself so is one that kills.
fn kills(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0_u32);
    match (next(), next(), next()) {
        (6, 11, _) => true,
        (6, 12, stable) => stable < 14,
        (6, 13, stable) => stable < 3,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_kill() {
        for kills_so in ["6.11.0-9-generic", "6.12.9+deb12-amd64", "6.12.0", "6.13.2-arch1-1"] {
            assert!(kills(kills_so), "{kills_so}");
        }
        for lives in
            ["6.1.0-56-cloud-amd64", "6.10.14", "6.12.14", "6.13.3", "6.14.0-rc2", "6.18.44", ""]
        {
            assert!(!kills(lives), "{lives}");
        }
    }

    /// What the trial takes for death is one: the filter kills at any call but the last.
    #[test]
    fn the_filter_kills() {
        let filter = filter();
        let program = libc::sock_fprog { len: 4, filter: filter.as_ptr().cast_mut() };
        let none = 0_usize;
        // SAFETY: the child makes raw system calls only.
        let pid = unsafe {
            match libc::fork() {
                0 => {
                    libc::prctl(libc::PR_SET_DUMPABLE, none, none, none, none);
                    libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_usize, none, none, none);
                    libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    );
                    libc::getppid();
                    libc::_exit(0)
                }
                pid => pid,
            }
        };
        let mut status = 0;
        // SAFETY: the status has room; the child is ours.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS, "{status:#x}");
    }
}

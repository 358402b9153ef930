//! System calls that threads renounce, by seccomp. What is refused fails with EPERM, as where a
//! privilege is missing: a trace goes on.

use std::{collections::BTreeMap, env::consts::ARCH, process};

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// System calls with what must hold of their arguments: one of the rules, or nothing if there is none.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// For every thread: the agent starts no program, and leaves other processes, namespaces, mounts and
/// the kernel alone.
pub(super) fn harmless() -> Result<(), Error> {
    let mut refused: Rules = HARMFUL.iter().map(|&call| (call, Vec::new())).collect();
    // A program that aborts signals itself.
    refused.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Ne, own_id())?]);
    apply(refused, SeccompAction::Allow, refuse())
}

/// For threads that decode: memory, time, waiting for other threads, writing, and the kernel half's
/// maps. They can open nothing and connect to nobody.
pub(super) fn decoding() -> Result<(), Error> {
    let mut allowed: Rules = DECODING.iter().map(|&call| (call, Vec::new())).collect();
    allowed.insert(libc::SYS_bpf, any_of(0, ELEMENTS)?);
    allowed.insert(libc::SYS_ioctl, any_of(1, TERMINAL)?);
    allowed.insert(libc::SYS_tgkill, any_of(0, &[own_id()])?);
    // Memory for data, not for code.
    let not_executable = SeccompCmpOp::MaskedEq(PROT_EXEC);
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        allowed.insert(call, vec![rule(2, not_executable.clone(), 0)?]);
    }
    apply(allowed, refuse(), SeccompAction::Allow)
}

fn refuse() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM.cast_unsigned())
}

fn own_id() -> u64 {
    process::id().into()
}

fn apply(rules: Rules, others: SeccompAction, these: SeccompAction) -> Result<(), Error> {
    let filter = SeccompFilter::new(rules, others, these, ARCH.try_into()?)?;
    let program: BpfProgram = filter.try_into()?;
    apply_filter(&program)
}

/// An argument, counted from 0, is one of these.
fn any_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|&value| rule(argument, SeccompCmpOp::Eq, value)).collect()
}

/// What holds of the lower half of an argument: the kernel takes no more of any of these.
fn rule(argument: u8, holds: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, holds, value)?;
    SeccompRule::new(vec![condition])
}

/// What an agent that only looks has no use for.
const HARMFUL: [i64; 41] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_kcmp,
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // The kernel itself.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_syslog,
    // Large parts of the kernel that are not used.
    libc::SYS_io_uring_setup,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// What computing, waiting and writing take.
const DECODING: [i64; 30] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_getcpu,
];

const PROT_EXEC: u64 = libc::PROT_EXEC.cast_unsigned() as u64;

/// `enum bpf_cmd`: looking up, updating and deleting elements of maps, and going through them.
const ELEMENTS: &[u64] = &[1, 2, 3, 4, 21];

/// Whether it is a terminal, and of which width.
const TERMINAL: &[u64] = &[libc::TCGETS, libc::TIOCGWINSZ];

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{ErrorKind, Write as _},
        net::{TcpStream, UdpSocket},
        process::Command,
        thread,
    };

    use super::*;

    /// Runs on a thread of its own, since there is no way back.
    fn alone(work: impl FnOnce() + Send + 'static) {
        thread::spawn(work).join().unwrap();
    }

    fn is_refused<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn no_program_is_started_and_no_process_touched() {
        let other = fs::read_link("/proc/self").unwrap();
        alone(move || {
            harmless().unwrap();
            assert!(is_refused(Command::new("/bin/true").status()));
            let kill = |pid| {
                // SAFETY: signal 0 does nothing.
                unsafe { libc::kill(pid, 0) }
            };
            assert_eq!(kill(i32::try_from(process::id()).unwrap()), -1);
            // SAFETY: signal 0 does nothing.
            assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, 1, 1, 0) }, -1);
            // SAFETY: likewise, to this very thread.
            let own = unsafe { libc::syscall(libc::SYS_tgkill, own_id(), libc::gettid(), 0) };
            assert_eq!(own, 0);
            assert_eq!(fs::read_link("/proc/self").unwrap(), other);
            assert!(thread::spawn(|| 1).join().is_ok());
        });
    }

    #[test]
    fn what_decodes_computes_and_writes() {
        let mut file = tempfile::tempfile().unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = datagrams.local_addr().unwrap();
        alone(move || {
            decoding().unwrap();
            let large = vec![1_u8; 16 << 20];
            file.write_all(large.get(..4096).unwrap()).unwrap();
            file.sync_all().unwrap();
            assert!(is_refused(File::open("/proc/self/status")));
            assert!(is_refused(fs::read_dir("/")));
            assert!(is_refused(fs::remove_file("/nonexistent")));
            assert!(is_refused(TcpStream::connect(address)));
            assert!(is_refused(datagrams.send_to(b"x", address)));
            assert!(thread::Builder::new().spawn(|| ()).is_err());
            let executable = libc::PROT_READ | libc::PROT_EXEC;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a new mapping, which is in nobody's way.
            let code = unsafe { libc::mmap(std::ptr::null_mut(), 4096, executable, flags, -1, 0) };
            assert_eq!(code, libc::MAP_FAILED);
            // SAFETY: `BPF_PROG_LOAD` of nothing.
            assert_eq!(unsafe { libc::syscall(libc::SYS_bpf, 5, 0, 0) }, -1);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPERM));
        });
    }
}

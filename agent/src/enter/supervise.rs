//! A command in another pid namespace: a child, and this process, which stands for it.
//!
//! Both are in one process group, so that the terminal's signals reach the child as they are, and a
//! pipeline stays one job. What is sent to this process alone is passed on; it stops when the child does,
//! ends as the child does, and takes the child with it when it is killed.

use std::{fs::File, os::fd::OwnedFd, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd, siginfo},
    },
    unistd::ForkResult,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, PidfdFlags, WaitOptions, getpgrp, getpid, pidfd_open, set_parent_process_death_signal,
        waitpid,
    },
    termios::{tcgetpgrp, tcsetpgrp},
};

/// Which of the two processes this is.
pub(super) enum Role {
    /// The one that was there.
    Supervisor(Supervisor),
    /// The new one.
    Child(Child),
}

/// Makes the child, in the pid namespace that was entered. All signals wait until the child is released.
pub(super) fn fork() -> Result<Role> {
    let supervisor =
        pidfd_open(getpid(), PidfdFlags::empty()).context("failed to open this process")?;
    let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC)
        .context("failed to wait for signals")?;
    let mask = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .context("failed to hold signals back")?;
    // SAFETY: there is no other thread that could hold a lock.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => {
            let child = Pid::from_raw(child.as_raw()).context("a child without a number")?;
            Ok(Role::Supervisor(Supervisor { child, signals, terminal: Terminal::ours() }))
        }
        Ok(ForkResult::Child) => Ok(Role::Child(Child { supervisor, mask })),
        // The namespace's first process has ended (fork(2)).
        Err(Errno::ENOMEM) => bail!("the pid namespace takes no process any more; it is ending"),
        Err(errno) => Err(errno).context("failed to start a process"),
    }
}

/// The child, until it becomes the command.
pub(super) struct Child {
    supervisor: OwnedFd,
    mask: SigSet,
}

impl Child {
    /// Binds its life to the supervisor's, and lets signals through. Behind every change of its user, which
    /// would undo that.
    pub(super) fn release(self) -> Result<()> {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .context("failed to bind the child")?;
        let mut ended = [PollFd::new(&self.supervisor, PollFlags::IN)];
        if poll(&mut ended, Some(&Timespec::default())) != Ok(0) {
            bail!("tlstap was killed");
        }
        self.mask.thread_set_mask().context("failed to let signals through")
    }
}

/// What stands for the child.
pub(super) struct Supervisor {
    child: Pid,
    signals: SignalFd,
    terminal: Option<Terminal>,
}

impl Supervisor {
    /// Until the child ends; then as it did.
    pub(super) fn wait(self) -> Result<ExitCode> {
        loop {
            let changes = WaitOptions::NOHANG | WaitOptions::UNTRACED;
            match waitpid(Some(self.child), changes).context("failed to wait for the command")? {
                None => self.pass_on()?,
                Some((_, status)) if status.stopped() => stop_by(status.stopping_signal()),
                Some((_, status)) => {
                    self.terminal.inspect(Terminal::take_back);
                    if let Some(signal) = status.terminating_signal() {
                        die_by(signal);
                    }
                    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                    return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
                }
            }
        }
    }

    /// Waits for a signal.
    fn pass_on(&self) -> Result<()> {
        match self.signals.read_signal() {
            Ok(Some(signal)) if is_for_child(&signal) => {
                // SAFETY: the child was not waited for, so the number is its own. A signal without a
                // name, too, is one.
                unsafe { libc::kill(self.child.as_raw_pid(), signal.ssi_signo.cast_signed()) };
                Ok(())
            }
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("failed to wait for signals"),
        }
    }
}

/// Whether the child did not get it itself: what the kernel sends for a terminal goes to the group. (What
/// somebody sends to the group reaches it twice.)
fn is_for_child(signal: &siginfo) -> bool {
    match signal.ssi_signo.cast_signed() {
        libc::SIGCHLD => false,
        libc::SIGINT
        | libc::SIGQUIT
        | libc::SIGTSTP
        | libc::SIGTTIN
        | libc::SIGTTOU
        | libc::SIGWINCH => signal.ssi_code != libc::SI_KERNEL,
        _ => true,
    }
}

/// Stops as the child did; goes on when somebody says so.
fn stop_by(signal: Option<i32>) {
    let signal = signal.and_then(|signal| Signal::try_from(signal).ok()).unwrap_or(Signal::SIGSTOP);
    // It becomes one with that of the terminal, which may be waiting.
    send_self(signal as i32);
    let mut others = SigSet::all();
    others.remove(signal);
    // They fail for what is no set of signals.
    let _ = others.thread_set_mask();
    let _ = SigSet::all().thread_set_mask();
}

/// Ends as a process does that dies by the signal, without a dump of its own: it is not dumpable.
fn die_by(signal: i32) {
    // SAFETY: the default is what every process has; no handler is replaced that anybody needs.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let _ = SigSet::empty().thread_set_mask();
    send_self(signal);
}

fn send_self(signal: i32) {
    // SAFETY: it is a signal to this process.
    unsafe { libc::kill(libc::getpid(), signal) };
}

/// The terminal, where this process's group is in its foreground.
struct Terminal {
    terminal: File,
    group: Pid,
}

impl Terminal {
    fn ours() -> Option<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let group = getpgrp();
        tcgetpgrp(&terminal).is_ok_and(|front| front == group).then_some(Self { terminal, group })
    }

    /// From a shell that was the command, and whose own group is gone with it: a script that goes on behind
    /// this process would be in the background. It cannot stop this process, as SIGTTOU waits.
    fn take_back(&self) {
        if tcgetpgrp(&self.terminal).is_ok_and(|front| front == self.group) {
            return;
        }
        // Fails when the terminal is gone.
        let _ = tcsetpgrp(&self.terminal, self.group);
    }
}

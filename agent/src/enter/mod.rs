//! `tlstap enter`: a program in namespaces of a container.
//!
//! A process, namespaces and a command come in. The command takes the place of this process, so that its
//! terminal, its signals and its exit status are its own. Only for another pid namespace, which a
//! process cannot move to, it is a child that this process stands for. Nothing here knows TLS.

mod execute;
mod inside;
mod mounts;
mod names;
mod namespaces;
mod sealed;
mod supervise;
mod tool;
mod user;

use std::{convert::Infallible, ffi::OsString, io, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::CloneFlags;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::target;
pub use execute::NotExecuted;
use inside::Inside;
use names::Names;
use namespaces::Namespaces;
use supervise::{Child, Role};
use tool::Tool;
pub use user::{Privileges, User};

/// What runs, and where.
#[derive(Debug)]
pub struct Options {
    /// The container or process, as the user wrote it.
    pub target: String,
    /// Its namespaces that are entered; [`Program`] says whether that of mounts is.
    pub namespaces: CloneFlags,
    /// Whose program it is.
    pub program: Program,
    /// Who runs it, as the container counts users.
    pub user: Option<User>,
    /// What it may do.
    pub privileges: Privileges,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Whose program is run, and among whose files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The host's, among the host's.
    Host(Lookup),
    /// The container's, among its own.
    Container,
    /// A static one of the host, among the container's.
    Tool,
}

/// How a program of the host looks up names when it is in the container's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// As the container does.
    Container,
    /// As the host does.
    Host,
}

/// Runs the command. It returns only when it had to wait for it, or failed. No other thread may run.
pub fn enter(proc: &Path, options: &Options) -> Result<ExitCode> {
    // Nobody looks into this process while it is half inside (CVE-2016-9962).
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("failed to hide this process")?;
    if options.is_exposed() || !options.is_of_host() {
        sealed::seal()?;
    }
    let target = target::find(proc, &options.target)?;
    let setup = Setup {
        options,
        target: Namespaces { pidfd: &target.pidfd, name: &options.target },
        opened: Opened::open(options, &proc.join(target.pid.to_string()))?,
    };
    ensure!(target.is_alive(), "{} has ended", options.target);
    if !options.namespaces.contains(CloneFlags::CLONE_NEWPID) {
        return setup.execute(None).map(|never| match never {});
    }
    setup.target.join(CloneFlags::CLONE_NEWPID)?;
    match supervise::fork()? {
        Role::Supervisor(supervisor) => supervisor.wait(),
        Role::Child(child) => setup.execute(Some(child)).map(|never| match never {}),
    }
}

impl Options {
    fn is_of_host(&self) -> bool {
        matches!(self.program, Program::Host(_))
    }

    /// Whether processes of the container see the command in their /proc.
    fn is_exposed(&self) -> bool {
        self.namespaces.contains(CloneFlags::CLONE_NEWPID)
    }

    /// Whether the container's user namespace is entered. What is the container's own gets no power
    /// that this keeps from it.
    fn changes_users(&self) -> bool {
        !self.is_of_host() || self.namespaces.contains(CloneFlags::CLONE_NEWUSER)
    }
}

/// All that must be at hand before anything is entered: the host's files, and the container's while they
/// can be opened with the host's eyes.
struct Opened {
    inside: Inside,
    names: Option<Names>,
    tool: Option<Tool>,
    /// The container counts users otherwise than this process.
    other_users: bool,
}

impl Opened {
    /// `process` is the target's directory in /proc.
    fn open(options: &Options, process: &Path) -> Result<Self> {
        let looked = || format!("failed to look into {}", options.target);
        let networked = options.namespaces.contains(CloneFlags::CLONE_NEWNET);
        let inside = match Inside::open(process) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let needed = "run as root (CAP_SYS_PTRACE is needed)";
                bail!("not permitted to look into {}; {needed}", options.target)
            }
            opened => opened.with_context(looked)?,
        };
        let names = match options.program {
            Program::Host(Lookup::Container) if networked => {
                Names::of(process).with_context(looked)?
            }
            _ => None,
        };
        let tool = match (options.program, options.command.first()) {
            (Program::Tool, Some(program)) => Some(Tool::find(program)?),
            _ => None,
        };
        let other_users = namespaces::other_users(process).with_context(looked)?;
        Ok(Self { inside, names, tool, other_users })
    }
}

/// From here to the command.
struct Setup<'a> {
    options: &'a Options,
    target: Namespaces<'a>,
    opened: Opened,
}

impl Setup<'_> {
    fn execute(&self, child: Option<Child>) -> Result<Infallible> {
        if self.options.is_of_host() {
            self.beside()?;
        } else {
            self.within()?;
        }
        // Behind all else: it takes the power to enter and to mount.
        self.become_user()?;
        if let Some(child) = child {
            child.release()?;
        }
        let Opened { inside, tool, .. } = &self.opened;
        let command = &self.options.command;
        let error = match (self.options.program, tool) {
            (Program::Host(_), _) => execute::execute(command, None),
            (_, None) => execute::execute(command, Some(inside.environment(None))),
            (_, Some(tool)) => {
                let environment = inside.environment(Some(tool::FOLDER));
                execute::execute(&tool.command(command), Some(environment))
            }
        };
        Err(error.into())
    }

    /// Among the host's files, of which a few are covered.
    fn beside(&self) -> Result<()> {
        let namespaces = self.options.namespaces;
        if namespaces.intersects(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID) {
            mounts::separate("/")?;
        }
        if let Some(names) = &self.opened.names {
            names.lay()?;
        }
        self.target.join(namespaces & ANYWHERE)?;
        if namespaces.contains(CloneFlags::CLONE_NEWNET) {
            mounts::show_devices();
        }
        if namespaces.contains(CloneFlags::CLONE_NEWPID) {
            mounts::show_processes()?;
        }
        Ok(())
    }

    /// Among the container's files.
    fn within(&self) -> Result<()> {
        self.target.join(self.options.namespaces & ANYWHERE)?;
        self.target.join(CloneFlags::CLONE_NEWNS)?;
        Inside::close_others()?;
        self.opened.inside.settle()?;
        match &self.opened.tool {
            Some(tool) => tool.lay(),
            None => Ok(()),
        }
    }

    fn become_user(&self) -> Result<()> {
        let moves = self.options.changes_users() && self.opened.other_users;
        let user = self.options.user.or(moves.then_some(User::ROOT));
        if user.is_some() {
            user::leave_groups()?;
        }
        if moves {
            self.target.join(CloneFlags::CLONE_NEWUSER)?;
        }
        // Its root directory is the host's, which is none of their business.
        let shield = self.options.is_exposed() && self.options.is_of_host();
        user::become_user(user, self.options.privileges, shield)
    }
}

/// What can be entered at any time, and changes nothing of what is done next.
const ANYWHERE: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWCGROUP);

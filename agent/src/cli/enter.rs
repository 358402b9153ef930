//! The options of `tlstap enter`.

use std::ffi::OsString;

use clap::Args;
use nix::sched::CloneFlags;

use super::{Verbosity, complete};
use crate::enter::{self, Lookup, Privileges, Program, User};

/// Options of `enter`.
#[derive(Debug, Args)]
pub struct EnterArgs {
    /// A container by its name or the beginning of its id, or a process
    #[arg(value_name = "CONTAINER|PID", add = complete::containers())]
    pub target: String,
    /// Its network, with names looked up as it does; this is what happens if no namespace is named. /etc
    /// is read-only meanwhile
    #[arg(long)]
    pub net: bool,
    /// Its files: the program is the container's, with the environment and the working directory of its
    /// process, in its user namespace
    #[arg(long)]
    pub mount: bool,
    /// Its host name
    #[arg(long)]
    pub uts: bool,
    /// Its System V IPC and POSIX message queues
    #[arg(long)]
    pub ipc: bool,
    /// Its processes, with a private /proc that shows them; they see the program too
    #[arg(long)]
    pub pid: bool,
    /// Its view of control groups; the program stays in its own
    #[arg(long)]
    pub cgroup: bool,
    /// Its user namespace, where the program is root, or this user and group; a group that is not given
    /// has the number of the user
    #[arg(long, value_name = "UID[:GID]", num_args = 0..=1)]
    pub user: Option<Option<User>>,
    /// Run a static program of the host among the container's files, without writing to them
    #[arg(long, requires = "mount")]
    pub with_tools: bool,
    /// Look names up as the host does, and leave /etc as it is
    #[arg(long, conflicts_with = "mount")]
    pub host_names: bool,
    /// Without any capability
    #[arg(long)]
    pub drop_caps: bool,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// The program and its arguments
    #[arg(value_name = "CMD", last = true, required = true)]
    pub command: Vec<OsString>,
}

impl From<EnterArgs> for enter::Options {
    fn from(args: EnterArgs) -> Self {
        let named = [
            (args.net, CloneFlags::CLONE_NEWNET),
            (args.uts, CloneFlags::CLONE_NEWUTS),
            (args.ipc, CloneFlags::CLONE_NEWIPC),
            (args.pid, CloneFlags::CLONE_NEWPID),
            (args.cgroup, CloneFlags::CLONE_NEWCGROUP),
            (args.user.is_some(), CloneFlags::CLONE_NEWUSER),
        ];
        let named = named.into_iter().filter(|(named, _)| *named).map(|(_, namespace)| namespace);
        let mut namespaces: CloneFlags = named.collect();
        // Another user alone is no place.
        if !args.mount && (namespaces - CloneFlags::CLONE_NEWUSER).is_empty() {
            namespaces |= CloneFlags::CLONE_NEWNET;
        }
        let lookup = if args.host_names { Lookup::Host } else { Lookup::Container };
        Self {
            namespaces,
            program: match (args.mount, args.with_tools) {
                (false, _) => Program::Host(lookup),
                (true, false) => Program::Container,
                (true, true) => Program::Tool,
            },
            user: args.user.flatten(),
            privileges: if args.drop_caps { Privileges::Dropped } else { Privileges::Kept },
            target: args.target,
            command: args.command,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn enter(words: &[&str]) -> Result<enter::Options, clap::Error> {
        let cli = Cli::try_parse_from([&["tlstap", "enter", "web"], words].concat())?;
        let Some(Command::Enter(args)) = cli.command else { panic!("no enter") };
        Ok(args.into())
    }

    #[track_caller]
    fn check_enter(words: &[&str], namespaces: CloneFlags, program: Program, user: Option<&str>) {
        let options = enter(&[words, &["--", "ps", "--net"]].concat()).unwrap();
        assert_eq!((options.namespaces, options.program), (namespaces, program), "{words:?}");
        assert_eq!(options.user, user.map(|user| user.parse().unwrap()), "{words:?}");
        assert_eq!(
            (options.target, options.command),
            ("web".into(), vec!["ps".into(), "--net".into()])
        );
    }

    #[test]
    fn the_network_is_entered_if_nothing_is_named() {
        let (net, pid) = (CloneFlags::CLONE_NEWNET, CloneFlags::CLONE_NEWPID);
        let (users, none) = (CloneFlags::CLONE_NEWUSER, CloneFlags::empty());
        let host = Program::Host(Lookup::Container);
        check_enter(&[], net, host, None);
        check_enter(&["--host-names"], net, Program::Host(Lookup::Host), None);
        check_enter(&["--pid"], pid, host, None);
        check_enter(&["--pid", "--net", "--user"], pid | net | users, host, None);
        check_enter(&["--user", "7:8", "--drop-caps"], net | users, host, Some("7:8"));
        check_enter(&["--mount"], none, Program::Container, None);
        check_enter(&["--user", "7", "--mount"], users, Program::Container, Some("7"));
        check_enter(&["--mount", "--with-tools"], none, Program::Tool, None);
        assert!(enter(&["--", "ps"]).is_ok());
        for wrong in
            [&["ps"][..], &["--"], &["--with-tools", "--", "ps"], &["--user=x", "--", "ps"]]
        {
            assert!(enter(wrong).is_err(), "{wrong:?}");
        }
    }
}

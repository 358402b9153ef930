//! The command, in place of this process.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use thiserror::Error;

/// Why the command does not run.
#[derive(Debug, Error)]
pub enum NotExecuted {
    /// There is no such program.
    #[error("{}: not found", .0.display())]
    Missing(OsString),
    /// The program's file names another that would run it, as scripts and dynamic programs do.
    #[error("{}: its interpreter or dynamic loader is not there", .0.display())]
    Interpreter(OsString),
    /// It is no program, or not for this user.
    #[error("{}: cannot be executed", .0.display())]
    Refused(OsString, #[source] io::Error),
}

impl NotExecuted {
    /// What a shell exits with.
    pub fn status(&self) -> u8 {
        match self {
            Self::Missing(_) | Self::Interpreter(_) => 127,
            Self::Refused(..) => 126,
        }
    }
}

/// Runs it, in another environment if one is given. It returns only if that cannot be.
pub(super) fn execute(
    command: &[OsString],
    environment: Option<Vec<(OsString, OsString)>>,
) -> NotExecuted {
    let (program, arguments) = match command {
        [program, arguments @ ..] => (program, arguments),
        [] => return NotExecuted::Missing(OsString::new()),
    };
    let path = match &environment {
        Some(variables) => variables.iter().find(|(name, _)| name == "PATH").cloned(),
        None => env::var_os("PATH").map(|path| (OsString::new(), path)),
    };
    let mut execution = Command::new(program);
    execution.args(arguments);
    if let Some(variables) = environment {
        execution.env_clear().envs(variables);
    }
    // It also gives SIGPIPE back what it does.
    let error = execution.exec();
    match error.kind() {
        io::ErrorKind::NotFound if is_there(program, path.map(|(_, path)| path).as_deref()) => {
            NotExecuted::Interpreter(program.clone())
        }
        io::ErrorKind::NotFound => NotExecuted::Missing(program.clone()),
        _ => NotExecuted::Refused(program.clone(), error),
    }
}

fn is_there(program: &OsStr, path: Option<&OsStr>) -> bool {
    if program.as_encoded_bytes().contains(&b'/') {
        return Path::new(program).exists();
    }
    path.is_some_and(|path| env::split_paths(path).any(|folder| folder.join(program).is_file()))
}

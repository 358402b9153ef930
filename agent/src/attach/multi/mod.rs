//! Probes by links of many at once: `uprobe_multi` (Linux 6.10) and sessions (Linux 6.13), which aya
//! 0.14 has not.
//!
//! Comes in: the BPF object again, and the maps that aya has made of it, which all programs share.
//! Goes out: programs that one link puts on all their places in a file. A link with many probes is
//! detached in the time that the kernel takes for one.

mod syscall;

use std::{
    collections::HashMap,
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::Object;
use thiserror::Error;

use syscall::AttachType;

/// Where in a call a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Entry,
    Return,
    /// At its entry, which says whether at its return too.
    Session,
}

/// Why programs cannot be loaded or linked so.
#[derive(Debug, Error)]
pub(super) enum MultiError {
    #[error("the BPF object is not understood")]
    Object(#[from] aya_obj::ParseError),
    #[error("the BPF object's types are not understood")]
    Types(#[from] aya_obj::btf::BtfError),
    #[error("the BPF object does not fit its maps")]
    Relocation(#[from] aya_obj::relocation::EbpfRelocationError),
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
    #[error("the kernel refused the BPF object's types")]
    RefusedTypes(#[source] io::Error),
    #[error("the kernel refused {0}")]
    RefusedProgram(&'static str, #[source] io::Error),
    #[error("the kernel has no such links")]
    NoLinks(#[source] io::Error),
}

/// The programs of an object, to be loaded for such links.
pub(super) struct Loader {
    object: Object,
    /// The object's types: the kernel wants to know those of the functions that a loop calls.
    types: OwnedFd,
}

impl Loader {
    /// Takes the object apart. `maps` are those that were made of it, by their names.
    pub(super) fn new(
        object: &[u8],
        maps: &HashMap<String, BorrowedFd<'_>>,
    ) -> Result<Self, MultiError> {
        let mut object = Object::parse(object)?;
        let features = aya::features();
        let types = match features.btf() {
            Some(features) => object.fixup_and_sanitize_btf(features)?,
            None => None,
        };
        let types = types.ok_or(MultiError::Missing("types"))?.to_bytes();
        let types = syscall::load_types(&types).map_err(MultiError::RefusedTypes)?;
        relocate(&mut object, maps)?;
        Ok(Self { object, types })
    }

    /// Loads a program, and holds the kernel to have links for it.
    pub(super) fn load(&self, name: &'static str, when: When) -> Result<Program, MultiError> {
        let program = self.object.programs.get(name).ok_or(MultiError::Missing(name))?;
        let function = self.object.functions.get(&program.function_key());
        let function = function.ok_or(MultiError::Missing(name))?;
        let loaded = syscall::load_program(&syscall::Load {
            name,
            function,
            license: &program.license,
            attach_type: when.attach_type(),
            types: &self.types,
        });
        let fd = loaded.map_err(|error| MultiError::RefusedProgram(name, error))?;
        let program = Program { fd, when };
        program.linkable().map_err(MultiError::NoLinks)?;
        Ok(program)
    }
}

/// Puts the descriptors of maps, and of the functions that are called, into the instructions.
fn relocate(object: &mut Object, maps: &HashMap<String, BorrowedFd<'_>>) -> Result<(), MultiError> {
    let described = std::mem::take(&mut object.maps);
    let made = described.iter().filter_map(|(name, map)| {
        maps.get(name).map(|descriptor| (name.as_str(), descriptor.as_raw_fd(), map))
    });
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(made, &sections)?;
    object.relocate_calls(&sections)?;
    Ok(())
}

impl When {
    const fn attach_type(self) -> AttachType {
        match self {
            Self::Entry | Self::Return => AttachType::UprobeMulti,
            Self::Session => AttachType::UprobeSession,
        }
    }
}

/// A place in a file, and what the program is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// Offset of the instruction in the file, bytes.
    pub(super) offset: u64,
    pub(super) cookie: u64,
}

/// A loaded program.
#[derive(Debug)]
pub(super) struct Program {
    fd: OwnedFd,
    when: When,
}

/// Probes of one program in one file. Dropping it detaches them.
#[derive(Debug)]
pub(super) struct Link {
    #[expect(dead_code, reason = "held, not read: closing it detaches")]
    fd: OwnedFd,
}

impl Program {
    /// Puts the program on all places at once, for a process or for all.
    pub(super) fn attach(
        &self,
        path: &Path,
        points: &[Point],
        process: Option<u32>,
    ) -> io::Result<Link> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let offsets: Vec<_> = points.iter().map(|point| point.offset).collect();
        let cookies: Vec<_> = points.iter().map(|point| point.cookie).collect();
        let fd = syscall::create_link(&syscall::Probes {
            program: &self.fd,
            attach_type: self.when.attach_type(),
            path: &path,
            offsets: &offsets,
            cookies: &cookies,
            at_return: self.when == When::Return,
            process: process.unwrap_or(0),
        })?;
        Ok(Link { fd })
    }

    /// Whether the kernel has links for this program, and can bind them to one process.
    ///
    /// It looks at the process before it looks at the file since it takes the number for that of a
    /// process and not of a thread (Linux 6.10, 46ba0e49b642). A kernel without such links knows
    /// no such attach type, and says the same of everything. So it is asked twice, as libbpf does.
    fn linkable(&self) -> io::Result<()> {
        const NOT_A_PROCESS: u32 = u32::MAX;
        let nowhere = [Point { offset: 0, cookie: 0 }];
        let refused = |process| match self.attach(Path::new("/"), &nowhere, process) {
            Ok(_) => io::Error::other("a folder was probed"),
            Err(error) => error,
        };
        let folder = refused(None);
        if folder.raw_os_error() != Some(libc::EBADF) {
            return Err(folder);
        }
        let process = refused(Some(NOT_A_PROCESS));
        if process.raw_os_error() != Some(libc::EINVAL) {
            return Err(io::Error::other("links cannot be bound to a process"));
        }
        Ok(())
    }
}

//! The programs that probes of libraries run, and the links that hold them in place.

use std::{
    collections::HashMap,
    io,
    num::NonZeroU32,
    os::fd::{AsFd as _, BorrowedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};
use thiserror::Error;
use tlstap_ebpf::name;

use super::{
    LoadError, Refusal,
    apart::{Apart, apart},
    multi::{self, Loader, MultiError, Point, When},
    programs::refused,
};
use crate::privilege;

/// How probes are held in place; each way serves where the one before does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Links {
    /// One link a file and program, whose entry can refuse the return probe (Linux 6.13)
    Session,
    /// One link a file and program (Linux 6.10)
    Multi,
    /// One perf event a probe
    Perf,
}

impl Links {
    /// What it is called where it is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "uprobe sessions",
            Self::Multi => "uprobe multi links",
            Self::Perf => "perf links",
        }
    }
}

/// Which processes are probed in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All that map it, and will.
    All,
    /// One, by its number in the namespace of the agent. The others pay nothing.
    Process(u32),
}

/// Why a file is not probed.
#[derive(Debug, Error)]
pub enum AttachError {
    /// aya could not attach the program.
    #[error("failed to attach a probe")]
    Probe(#[from] ProgramError),
    /// The kernel refused to link a program to its places.
    #[error("failed to link probes")]
    Link(#[source] io::Error),
    /// The program is not loaded.
    #[error(transparent)]
    Program(#[from] LoadError),
    /// It could do harm.
    #[error("refused")]
    Refused(#[from] Refusal),
}

impl AttachError {
    /// Whether the process that was to be probed has ended.
    pub fn is_gone(&self) -> bool {
        let mut cause: Option<&dyn std::error::Error> = Some(self);
        while let Some(error) = cause {
            let errno = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
            if errno == Some(libc::ESRCH) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// The probes of one file. Dropping it detaches them, in the calling thread: a perf link takes about
/// 0.1 s, another some 40 ms for all that it holds.
#[derive(Debug)]
pub struct Attachment {
    #[expect(dead_code, reason = "held, not read: dropping them detaches")]
    links: Vec<Apart<Link>>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held, not read: dropping them detaches")]
enum Link {
    Multi(multi::Link),
    Perf(UProbeLink),
}

/// The programs, loaded for one kind of links.
pub(super) struct Probes {
    links: Links,
    /// By name; none for perf links, whose programs aya has.
    programs: HashMap<&'static str, multi::Program>,
}

/// The programs at one instruction of functions that are not followed to their return.
const ENTRIES: [&str; 11] = [
    name::GO_RETURN,
    name::GO_ENTRY,
    name::GO_HANDSHAKE,
    name::GO_CLOSE,
    name::END,
    name::TAKE,
    name::FREE,
    name::SET_TRANSPORT,
    name::SET_DESCRIPTOR,
    name::SHUTDOWN,
    name::BIO_WRITE,
];

/// The programs of functions that are followed, in the order in which they are attached: an entry
/// without its return would leave calls in flight.
const CALLS: [&str; 2] = [name::RETURN, name::ENTRY];

impl Probes {
    /// Loads the programs for the first kind of links that this kernel has, from `first` on.
    /// `object` is what `ebpf` was made from, and no map may have been taken out yet.
    pub(super) fn load(object: &[u8], ebpf: &mut Ebpf, first: Links) -> Result<Self, LoadError> {
        let (links, programs) = match load_multi(object, ebpf, first) {
            Some(loaded) => loaded,
            None => {
                load_perf(ebpf)?;
                (Links::Perf, HashMap::new())
            }
        };
        tracing::info!("probes are held by {}", links.as_str());
        if links == Links::Perf && !privilege::may_use_perf_probes() {
            tracing::warn!("kernels since July 2025 refuse perf links without CAP_SYS_ADMIN");
        }
        Ok(Self { links, programs })
    }

    /// Which links hold the probes.
    pub(super) const fn links(&self) -> Links {
        self.links
    }

    /// The programs that follow a call.
    pub(super) const fn calls(&self) -> &'static [&'static str] {
        match self.links {
            Links::Session => &[name::SESSION],
            Links::Multi | Links::Perf => &CALLS,
        }
    }

    /// Puts programs on their places in a file, in order. All or none.
    pub(super) fn attach(
        &self,
        ebpf: &mut Ebpf,
        path: &Path,
        places: &[(&'static str, Vec<Point>)],
        scope: Scope,
    ) -> Result<Attachment, AttachError> {
        let process = match scope {
            Scope::Process(pid) => NonZeroU32::new(pid),
            Scope::All => None,
        };
        let mut links = Vec::new();
        for (name, points) in places {
            if self.links == Links::Perf {
                for point in points {
                    let link = attach_perf(ebpf, name, path, *point, process)?;
                    links.push(Apart::new(Link::Perf(link)));
                }
            } else {
                let program = self.programs.get(name).ok_or(LoadError::Missing(name))?;
                let process = process.map(NonZeroU32::get);
                let link = apart(|| program.attach(path, points, process)).flatten();
                links.push(Apart::new(Link::Multi(link.map_err(AttachError::Link)?)));
            }
        }
        Ok(Attachment { links })
    }
}

type Loaded = (Links, HashMap<&'static str, multi::Program>);

fn load_multi(object: &[u8], ebpf: &Ebpf, first: Links) -> Option<Loaded> {
    if first == Links::Perf {
        return None;
    }
    let loader = Loader::new(object, &descriptors(ebpf));
    let loader = loader.inspect_err(|error| not_used(Links::Multi, error)).ok()?;
    [Links::Session, Links::Multi].into_iter().filter(|links| *links >= first).find_map(|links| {
        let programs = load_programs(&loader, links);
        programs.inspect_err(|error| not_used(links, error)).ok().map(|programs| (links, programs))
    })
}

fn not_used(links: Links, error: &MultiError) {
    tracing::info!(error = %crate::pipeline::report(error), "no {}", links.as_str());
}

fn load_programs(
    loader: &Loader,
    links: Links,
) -> Result<HashMap<&'static str, multi::Program>, MultiError> {
    let calls: &[_] = match links {
        Links::Session => &[(name::SESSION, When::Session)],
        _ => &[(name::RETURN, When::Return), (name::ENTRY, When::Entry)],
    };
    let entries = ENTRIES.map(|name| (name, When::Entry));
    // Those first that older kernels refuse.
    let wanted = calls.iter().chain(&entries);
    wanted.map(|&(name, when)| Ok((name, loader.load(name, when)?))).collect()
}

/// The maps that aya has made, by their names.
fn descriptors(ebpf: &Ebpf) -> HashMap<String, BorrowedFd<'_>> {
    let mut found = HashMap::new();
    for (name, map) in ebpf.maps() {
        let map = match map {
            // Those that the kernel half has.
            Map::Array(map)
            | Map::HashMap(map)
            | Map::LruHashMap(map)
            | Map::PerCpuArray(map)
            | Map::RingBuf(map)
            // Task storage, for which aya 0.14 has no name.
            | Map::Unsupported(map) => map,
            _ => continue,
        };
        found.insert(name.to_owned(), map.fd().as_fd());
    }
    found
}

fn load_perf(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    for name in CALLS.into_iter().chain(ENTRIES) {
        perf(ebpf, name)?.load().map_err(|error| refused(name, error))?;
    }
    Ok(())
}

fn perf<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut UProbe, LoadError> {
    let program = ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
    program.try_into().map_err(|error| refused(name, error))
}

fn attach_perf(
    ebpf: &mut Ebpf,
    name: &'static str,
    path: &Path,
    Point { offset, cookie }: Point,
    process: Option<NonZeroU32>,
) -> Result<UProbeLink, AttachError> {
    let location = UProbeAttachLocation::AbsoluteOffset(offset);
    let point = UProbeAttachPoint { location, cookie: Some(cookie) };
    let scope = process.map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
    let program = perf(ebpf, name)?;
    let link = apart(|| program.attach(point, path, scope)).map_err(AttachError::Link)??;
    Ok(program.take_link(link)?)
}

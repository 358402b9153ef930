//! The kernel half, loaded, and the probes that it is attached by.

use std::{error::Error, io, path::Path, thread};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, MapData},
    programs::{KProbe, ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use thiserror::Error;
use tlstap_ebpf::{Cookie, Function, name};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    AttachError, Attachment, Copying, Guard, Links, ReturnProbes, Scope, Verdicts, layout,
    multi::Point, probes::Probes,
};
use crate::{
    capture::{Connections, Counters, Ended, Interrupted, Kernel, Ring},
    privilege,
    resolve::{Probe, RealFile, descriptor_path},
};

/// The BPF object that the build script made.
const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tlstap-bpf"));

/// What the kernel half is loaded with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the ring buffer: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Most bytes copied from one call.
    pub max_call_bytes: u64,
    /// Most bytes copied from one process in a second, below 2^34.
    pub max_rate: Option<u64>,
    /// How the sockets of connections are found.
    pub sockets: Sockets,
    /// How probes are held in place, at best.
    pub links: Links,
    /// Whether functions are probed at their return.
    pub returns: ReturnProbes,
    /// Whether processes can be ignored; without it nothing is looked up.
    pub filtered: bool,
    /// Whether the kernel half logs, through aya-log.
    pub logging: bool,
}

/// How the sockets of connections are found; each way serves where the one before does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Sockets {
    /// By tracepoints of Linux 6.3
    Tracepoints,
    /// By kprobes on the kernel's TCP
    Kprobes,
    /// By the file descriptors that programs hand to the TLS library
    Descriptors,
}

/// Why the kernel half could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A privilege is missing.
    #[error("not permitted to load BPF programs ({missing})")]
    Permission {
        /// Which capability, or what else stands against it.
        missing: String,
    },
    /// The kernel refused a program or a map.
    #[error("the kernel refused {0}")]
    Refused(&'static str, #[source] Box<dyn Error + Send + Sync>),
    /// The object lacks something that this agent expects of it.
    #[error("the BPF object has no {0}")]
    Missing(&'static str),
}

/// The loaded kernel half, taken apart by use.
pub struct KernelHalf {
    /// For attaching.
    pub programs: Programs,
    /// The records.
    pub records: Ring,
    /// What is decided about processes.
    pub verdicts: Verdicts,
    /// How much is copied.
    pub copying: Copying,
    /// The connections that are open.
    pub connections: Connections,
    /// What was lost, by [`tlstap_ebpf::loss`].
    pub losses: Counters,
}

/// The loaded programs.
pub struct Programs {
    ebpf: Ebpf,
    /// Those that probes of libraries run.
    probes: Probes,
    /// What may be probed.
    guard: Guard,
    /// How the sockets of connections are found.
    sockets: Sockets,
    /// What tells the kernel half to look at ciphertext outside TLS calls.
    memory_bios: Array<MapData, u32>,
}

impl KernelHalf {
    /// Loads the programs and attaches those that no library is needed for.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let returns = options.returns;
        // It waits for the kernel most of the time, and so does what follows.
        let guard = thread::spawn(move || Guard::new(returns));
        let level = if options.logging { aya_log::Level::Trace as u8 } else { 0 };
        let sockets = layout::of_sockets(Path::new("/sys/kernel/btf/vmlinux"));
        let mut ebpf = EbpfLoader::new()
            .override_global(name::SOCKET_LAYOUT, &sockets.unwrap_or_default().words(), true)
            // The kernel half has no CO-RE relocations, so the kernel's types are not needed.
            .btf(None)
            .override_global(name::FILTERED, &u32::from(options.filtered), true)
            .override_global(name::MAX_CALL_BYTES, &options.max_call_bytes, true)
            .override_global(name::MAX_RATE, &options.max_rate.unwrap_or_default(), true)
            .override_global(aya_log::LEVEL, &level, true)
            .map_max_entries(name::RECORDS, options.ring_bytes)
            // Its elements are allocated at once, also those that nobody needs.
            .map_max_entries(name::PAID, if options.max_rate.is_some() { 16_384 } else { 256 })
            .override_global(name::RING_BYTES, &u64::from(options.ring_bytes), true)
            .override_global(name::WAKE_SHIFT, &wake_shift(options.ring_bytes), true)
            // aya 0.14 has no type for task storage; the kernel half alone looks at it.
            .allow_unsupported_maps()
            .load(OBJECT)
            .map_err(|error| refused("the BPF maps", error))?;
        // While it has all maps.
        let probes = Probes::load(OBJECT, &mut ebpf, options.links)?;
        if options.logging {
            log(&mut ebpf);
        }
        let interrupted = Interrupted::default();
        let records = Ring {
            records: take(&mut ebpf, name::RECORDS)?,
            sleeping: take(&mut ebpf, name::SLEEPING)?,
            ended: Ended::new(take(&mut ebpf, name::ENDED)?, interrupted.clone()),
        };
        let verdicts =
            Verdicts::new(take(&mut ebpf, name::VERDICTS)?, take(&mut ebpf, name::THREADS)?);
        let losses = Counters::new(take(&mut ebpf, name::LOSSES)?);
        let kept = Kernel {
            map: take(&mut ebpf, name::CONNECTIONS)?,
            since: take(&mut ebpf, name::SINCE)?,
            generation: take(&mut ebpf, name::GENERATION)?,
        };
        let connections = Connections::new(kept, losses.clone(), interrupted);
        let copying = Copying::new(take(&mut ebpf, name::LEVEL)?);
        let memory_bios = take(&mut ebpf, name::MEMORY_BIOS)?;
        let guard = guard.join().map_err(|_panic| LoadError::Missing("guard"))?;
        if guard.returns.is_unsafe() {
            tracing::warn!(returns = %guard.returns, "only what has no probes at returns is probed");
        }
        let mut programs =
            Programs { ebpf, probes, guard, sockets: Sockets::Descriptors, memory_bios };
        for tracepoint in
            [(name::TASK_EXIT, "sched_process_exit"), (name::TASK_EXEC, "sched_process_exec")]
        {
            programs.tracepoint(tracepoint)?;
        }
        programs.sockets = programs.follow_sockets(options.sockets, sockets.is_some());
        Ok(Self { programs, records, verdicts, copying, connections, losses })
    }
}

/// Marks in a ring of this size: 32 of them, but none closer than a page.
const fn wake_shift(ring_bytes: u32) -> u32 {
    let shift = ring_bytes.ilog2();
    if shift > 17 { shift - 5 } else { 12 }
}

impl Programs {
    /// Puts the probes on an open file, in order, for those processes. All or none, and none that
    /// could do harm.
    pub fn attach(
        &mut self,
        file: &RealFile,
        library: u32,
        probes: &[Probe],
        scope: Scope,
    ) -> Result<Attachment, AttachError> {
        self.guard.permit(file, probes)?;
        let mut places: Vec<(&str, Vec<Point>)> = Vec::new();
        for probe in probes {
            let cookie =
                Cookie { library, function: probe.function, places: probe.places }.to_bits();
            let point = Point { offset: probe.site_offset(), cookie };
            for &name in self.sites(probe.function) {
                match places.iter_mut().find(|(program, _)| *program == name) {
                    Some((_, points)) => points.push(point),
                    None => places.push((name, vec![point])),
                }
            }
        }
        let path = descriptor_path(&file.file);
        let attachment = self.probes.attach(&mut self.ebpf, &path, &places, scope)?;
        // Whoever wrote to it meanwhile finds no probe there any more.
        Guard::unchanged(file)?;
        Ok(attachment)
    }

    /// What may be probed.
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Which links hold the probes.
    pub const fn links(&self) -> Links {
        self.probes.links()
    }

    /// The programs that a probe on this function runs.
    fn sites(&self, function: Function) -> &'static [&'static str] {
        match function {
            Function::Free | Function::Clear => &[name::FREE],
            Function::SetDescriptor if self.sockets == Sockets::Descriptors => {
                &[name::SET_DESCRIPTOR]
            }
            // A function that takes a descriptor calls those that take a transport.
            Function::SetTransport if self.sockets == Sockets::Descriptors => &[],
            Function::SetTransport => &[name::SET_TRANSPORT],
            Function::SetDescriptor => &[],
            Function::Shutdown => &[name::SHUTDOWN],
            Function::BioWrite => &[name::BIO_WRITE],
            Function::ReadEnd => &[name::END],
            Function::GoRead | Function::GoWrite => &[name::GO_ENTRY],
            Function::GoReturn => &[name::GO_RETURN],
            Function::GoHandshake => &[name::GO_HANDSHAKE],
            Function::GoClose => &[name::GO_CLOSE],
            Function::TakePlaintext => &[name::TAKE],
            _ => self.probes.calls(),
        }
    }

    /// From now on the kernel half looks for ciphertext that is sent outside TLS calls. Whether it
    /// does.
    pub fn follow_ciphertext(&mut self) -> bool {
        self.sockets == Sockets::Tracepoints && self.memory_bios.set(0, 1, 0).is_ok()
    }

    /// Finds sockets in the first way that this kernel allows, from `first` on.
    fn follow_sockets(&mut self, first: Sockets, layout: bool) -> Sockets {
        let mut refusals = Vec::new();
        if !layout {
            refusals.push("no BTF of sockets".to_owned());
        }
        for way in [Sockets::Tracepoints, Sockets::Kprobes] {
            if way < first || !layout {
                continue;
            }
            let followed = match way {
                Sockets::Tracepoints => self.follow_by_tracepoints(),
                _ => self.follow_by_kprobes(),
            };
            match followed {
                Ok(()) => return way,
                Err(error) => {
                    let cause = Error::source(&error).map(ToString::to_string);
                    refusals.push(format!("{error}: {}", cause.unwrap_or_default()));
                }
            }
        }
        if first < Sockets::Descriptors {
            let reasons = refusals.join("; ");
            tracing::warn!(reasons, "only file descriptors tell the peers of connections");
        }
        Sockets::Descriptors
    }

    fn follow_by_tracepoints(&mut self) -> Result<(), LoadError> {
        self.tracepoint((name::SOCKET_SEND, "sock_send_length"))?;
        self.tracepoint((name::SOCKET_RECEIVE, "sock_recv_length"))
    }

    fn follow_by_kprobes(&mut self) -> Result<(), LoadError> {
        let name = name::TCP_CALL;
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        let program: &mut KProbe = program.try_into().map_err(|e| refused(name, e))?;
        program.load().map_err(|error| refused(name, error))?;
        for function in ["tcp_sendmsg", "tcp_recvmsg"] {
            program.attach(function, 0).map_err(|error| refused(name, error))?;
        }
        Ok(())
    }

    /// Puts a program on a tracepoint for as long as the programs are loaded.
    fn tracepoint(&mut self, (name, tracepoint): (&'static str, &str)) -> Result<(), LoadError> {
        let program = self.ebpf.program_mut(name).ok_or(LoadError::Missing(name))?;
        let program: &mut RawTracePoint = program.try_into().map_err(|e| refused(name, e))?;
        program.load().map_err(|error| refused(name, error))?;
        program.attach(tracepoint).map_err(|error| refused(name, error))?;
        Ok(())
    }
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, LoadError>
where
    M: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    M::try_from(map).map_err(|error| refused(name, error))
}

/// Passes the kernel half's log on to the agent's, for as long as the agent runs.
fn log(ebpf: &mut Ebpf) {
    let reader = EbpfLogger::init(ebpf).map_err(io::Error::other).and_then(|logger| {
        let fd = std::os::fd::AsFd::as_fd(&logger).try_clone_to_owned()?;
        // SAFETY: an owned descriptor is the same one for as long as it lives.
        let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok((logger, ready))
    });
    match reader {
        Ok((mut logger, ready)) => {
            tokio::spawn(async move {
                while let Ok(mut guard) = ready.readable().await {
                    logger.flush();
                    guard.clear_ready();
                }
            });
        }
        Err(error) => tracing::warn!(%error, "the kernel half's log cannot be read"),
    }
}

/// Tells a missing privilege from another refusal.
pub(super) fn refused<E>(what: &'static str, error: E) -> LoadError
where
    E: Error + Send + Sync + 'static,
{
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(link) = cause {
        let errno = link.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        // EACCES is the verifier's.
        if errno == Some(libc::EPERM) {
            return LoadError::Permission { missing: privilege::explain_refusal() };
        }
        cause = link.source();
    }
    LoadError::Refused(what, brief(Box::new(error)))
}

/// The reason of the verifier instead of its thousands of lines, which go to the log.
fn brief(error: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
    let refused = match error.downcast::<ProgramError>() {
        Ok(refused) => *refused,
        Err(other) => return other,
    };
    let ProgramError::LoadError { io_error, verifier_log } = refused else {
        return Box::new(refused);
    };
    let log = verifier_log.to_string();
    tracing::debug!(log, "the verifier's log");
    match verifier_reason(&log) {
        Some(reason) => format!("{reason} ({io_error})").into(),
        None => Box::new(io_error),
    }
}

/// The last line of a verifier's log that is none of its figures.
fn verifier_reason(log: &str) -> Option<&str> {
    const FIGURES: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    let mut lines = log.lines().map(str::trim).rev();
    lines.find(|line| !line.is_empty() && !FIGURES.iter().any(|figure| line.starts_with(figure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifiers_reason() {
        let log = "func#0 @0\n0: R1=ctx\ncombined stack size of 3 calls is 544. Too large\n\
                   verification time 167 usec\nstack depth 0+344\nprocessed 40015 insns\n";
        let reason = "combined stack size of 3 calls is 544. Too large";
        assert_eq!(verifier_reason(log), Some(reason));
        assert_eq!(verifier_reason("processed 1 insns\n"), None);
    }
}

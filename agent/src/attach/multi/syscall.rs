//! bpf(2), as far as it is needed here. The structures are parts of `union bpf_attr`
//! (include/uapi/linux/bpf.h); the kernel takes what is missing behind them for zeros.

use std::{
    ffi::{CStr, c_long},
    io,
    mem::size_of,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use aya_obj::Function;

/// `enum bpf_cmd`
const PROG_LOAD: c_long = 5;
const BTF_LOAD: c_long = 18;
const LINK_CREATE: c_long = 28;

/// `BPF_PROG_TYPE_KPROBE`, which uprobes have too.
const PROGRAM_TYPE: u32 = 2;

/// `BPF_F_UPROBE_MULTI_RETURN`
const AT_RETURN: u32 = 1;

/// Bytes for what the verifier has to say.
const LOG: u32 = 1 << 20;

/// `enum bpf_attach_type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum AttachType {
    UprobeMulti = 48,
    UprobeSession = 57,
}

/// A program to be loaded.
pub(super) struct Load<'a> {
    pub(super) name: &'static str,
    pub(super) function: &'a Function,
    pub(super) license: &'a CStr,
    pub(super) attach_type: AttachType,
    pub(super) types: &'a OwnedFd,
}

/// Probes to be linked.
pub(super) struct Probes<'a> {
    pub(super) program: &'a OwnedFd,
    pub(super) attach_type: AttachType,
    pub(super) path: &'a CStr,
    pub(super) offsets: &'a [u64],
    /// As many as offsets.
    pub(super) cookies: &'a [u64],
    pub(super) at_return: bool,
    /// 0 for all.
    pub(super) process: u32,
}

#[derive(Default)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

#[derive(Default)]
#[repr(C)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
    btf_log_true_size: u32,
}

#[derive(Default)]
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    pad: u32,
}

const _: () = {
    assert!(size_of::<ProgLoad>() == 112);
    assert!(size_of::<BtfLoad>() == 32);
    assert!(size_of::<LinkCreate>() == 64);
};

/// A part of `union bpf_attr`: only integers, so that all its bytes are written.
trait Attributes {}
impl Attributes for ProgLoad {}
impl Attributes for BtfLoad {}
impl Attributes for LinkCreate {}

/// Loads types; the descriptor keeps them.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let attributes = BtfLoad { btf: address(types), btf_size: count(types)?, ..BtfLoad::default() };
    // SAFETY: the kernel reads the types, which outlive the call.
    unsafe { bpf(BTF_LOAD, &attributes) }
}

/// Loads a program. What the verifier has against it goes to the log.
pub(super) fn load_program(load: &Load<'_>) -> io::Result<OwnedFd> {
    let functions = load.function.func_info.func_info_bytes();
    let lines = load.function.line_info.line_info_bytes();
    let mut attributes = ProgLoad {
        prog_type: PROGRAM_TYPE,
        insn_cnt: count(&load.function.instructions)?,
        insns: address(&load.function.instructions),
        license: address(load.license.to_bytes_with_nul()),
        prog_name: short_name(load.name),
        expected_attach_type: load.attach_type as u32,
        prog_btf_fd: load.types.as_raw_fd().cast_unsigned(),
        func_info_rec_size: record(load.function.func_info_rec_size)?,
        func_info: address(&functions),
        func_info_cnt: count(&load.function.func_info.func_info)?,
        line_info_rec_size: record(load.function.line_info_rec_size)?,
        line_info: address(&lines),
        line_info_cnt: count(&load.function.line_info.line_info)?,
        ..ProgLoad::default()
    };
    // SAFETY: the kernel reads instructions, license and records, which outlive the call.
    let loaded = unsafe { bpf(PROG_LOAD, &attributes) };
    if loaded.as_ref().is_err_and(|error| error.raw_os_error() != Some(libc::EPERM)) {
        let mut log = vec![0_u8; LOG as usize];
        attributes.log_level = 1;
        attributes.log_size = LOG;
        attributes.log_buf = log.as_mut_ptr() as u64;
        // SAFETY: as above; it writes into the log, which has that size.
        let again = unsafe { bpf(PROG_LOAD, &attributes) };
        let said = CStr::from_bytes_until_nul(&log).unwrap_or_default().to_string_lossy();
        tracing::debug!(program = load.name, log = %said, "the verifier's log");
        return again;
    }
    loaded
}

/// Links a program to all its places; the descriptor keeps it there.
pub(super) fn create_link(probes: &Probes<'_>) -> io::Result<OwnedFd> {
    if probes.offsets.len() != probes.cookies.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let attributes = LinkCreate {
        prog_fd: probes.program.as_raw_fd().cast_unsigned(),
        attach_type: probes.attach_type as u32,
        path: address(probes.path.to_bytes_with_nul()),
        offsets: address(probes.offsets),
        cookies: address(probes.cookies),
        cnt: count(probes.offsets)?,
        multi_flags: if probes.at_return { AT_RETURN } else { 0 },
        pid: probes.process,
        ..LinkCreate::default()
    };
    // SAFETY: the kernel reads path, offsets and cookies, which outlive the call.
    unsafe { bpf(LINK_CREATE, &attributes) }
}

/// Calls bpf(2) for a command that gives a descriptor.
///
/// # Safety
///
/// The addresses in the attributes are of memory that is as long as the command takes it for.
unsafe fn bpf<A: Attributes>(command: c_long, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are of that size; for what they point at, the caller answers.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(attributes), size_of::<A>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for this caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as u64
}

fn count<T>(slice: &[T]) -> io::Result<u32> {
    record(slice.len())
}

fn record(size: usize) -> io::Result<u32> {
    u32::try_from(size).map_err(io::Error::other)
}

/// The kernel keeps 15 bytes of a name.
fn short_name(name: &str) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    short
}

//! Sockets: which TCP or Unix connection a TLS object uses.
//!
//! A socket that sends or receives while its thread is inside a TLS call is that call's. No file
//! descriptor and no structure of the library is looked at. The tracepoints are of Linux 6.3;
//! before, kprobes on what TCP does say the same.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{
        bpf_get_current_pid_tgid, bpf_probe_read_kernel,
        generated::bpf_probe_read_kernel as read_kernel,
    },
    macros::{kprobe, raw_tracepoint},
    programs::{ProbeContext, RawTracePointContext},
};
use tlstap_ebpf::{
    AF_INET, AF_INET6, AF_UNIX, ConnectionKey, Endpoints, SocketLayout, UNIX_NAME_LEN,
    UnixEndpoints, binding, kind, method,
};

use crate::{connection, emit, goroutine, machine, memory_bio, thread};

/// `IPPROTO_TCP` (include/uapi/linux/in.h).
const IPPROTO_TCP: u16 = 6;
/// `SOCK_STREAM` (include/linux/net.h).
const SOCK_STREAM: u16 = 1;

/// The agent sets it before loading.
#[unsafe(no_mangle)]
static SOCKET_LAYOUT: Global<SocketLayout> = Global::new(SocketLayout {
    family: 0,
    protocol: 0,
    local_port: 0,
    peer_port: 0,
    local_v4: 0,
    peer_v4: 0,
    local_v6: 0,
    peer_v6: 0,
    kind: 0,
    net: 0,
    net_inode: 0,
    unix_address: 0,
    unix_peer: 0,
});

#[raw_tracepoint(tracepoint = "sock_send_length")]
pub(crate) fn socket_send(ctx: RawTracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    let sock = ctx.arg(0);
    if !used(thread, sock) {
        let _ = memory_bio::sent(thread, sock);
    }
    0
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub(crate) fn socket_receive(ctx: RawTracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    used(thread, ctx.arg(0));
    0
}

/// `tcp_sendmsg(struct sock *, …)` and `tcp_recvmsg(struct sock *, …)`.
#[kprobe]
pub(crate) fn tcp_call(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    if let Some(sock) = ctx.arg(0) {
        used(thread, sock);
    }
    0
}

/// A socket is used. Whether that is inside a TLS call; of TLS inside TLS it carries both.
fn used(thread: u64, sock: u64) -> bool {
    let Some(known) = thread::known() else { return goroutine::used(thread, sock) };
    let Some(outer) = known.outer() else { return goroutine::used(thread, sock) };
    // Nearly always; a hot path of the whole node.
    let generation = connection::generation();
    if known.bound == outer && known.generation == generation && known.inner().is_none() {
        return true;
    }
    if known.is_left() {
        return goroutine::used(thread, sock);
    }
    let began = connection::began((thread >> 32) as u32, Some(known));
    if nested(thread, outer, began, sock).is_some() {
        known.bound = outer;
        known.generation = generation;
    }
    if let Some(inner) = known.inner() {
        let _ = nested(thread, inner, began, sock);
    }
    true
}

/// A socket is used inside a call on a TLS object. `Some`: the agent knows it from now on.
pub(crate) fn nested(thread: u64, object: u64, began: u64, sock: u64) -> Option<()> {
    let tgid = (thread >> 32) as u32;
    let connection = connection::find(tgid, object, began)?;
    if connection.binding == binding::KNOWN {
        return Some(());
    }
    let key = ConnectionKey { object, tgid, pad: 0 };
    if !tell(thread, &key, connection.birth, sock, method::NESTED)? {
        return None;
    }
    connection.binding = binding::KNOWN;
    Some(())
}

/// Tells the agent the addresses of a connection's socket. `None` when it cannot be one.
pub(crate) fn tell(
    thread: u64,
    key: &ConnectionKey,
    birth: u64,
    sock: u64,
    method: u32,
) -> Option<bool> {
    let layout = SOCKET_LAYOUT.load();
    let family: u16 = read(sock, layout.family)?;
    match family {
        // A program may well read and write files and other sockets inside a TLS call.
        AF_INET | AF_INET6 if read::<u16>(sock, layout.protocol)? == IPPROTO_TCP => {
            Some(emit::with(kind::SOCKET, thread, key, birth, |payload| {
                addresses(sock, &layout, family, method, payload).is_some()
            }))
        }
        AF_UNIX if is_tls_over_unix(sock, &layout)? => {
            Some(emit::with(kind::UNIX, thread, key, birth, |payload| {
                names(sock, &layout, method, payload).is_some()
            }))
        }
        _ => None,
    }
}

/// Writes each field to where it is to lie: on the stack there is no room for them.
fn addresses(
    sock: u64,
    layout: &SocketLayout,
    family: u16,
    method: u32,
    payload: *mut Endpoints,
) -> Option<()> {
    let (local, peer, length) = if family == AF_INET {
        (layout.local_v4, layout.peer_v4, 4)
    } else {
        (layout.local_v6, layout.peer_v6, 16)
    };
    // SAFETY: the payload is that of a record that is reserved.
    unsafe {
        (&raw mut (*payload).family).write_volatile(u32::from(family));
        let port = u32::from(read::<u16>(sock, layout.local_port)?);
        (&raw mut (*payload).local_port).write_volatile(port);
        let port = u32::from(read::<u16>(sock, layout.peer_port)?);
        (&raw mut (*payload).peer_port).write_volatile(port);
        (&raw mut (*payload).method).write_volatile(method);
        (&raw mut (*payload).namespace).write_volatile(namespace(sock, layout));
        (&raw mut (*payload).pad).write_volatile(0);
        address(sock, local, length, &raw mut (*payload).local)?;
        address(sock, peer, length, &raw mut (*payload).peer)
    }
}

/// Copies an address of so many bytes; the others are 0.
///
/// # Safety
///
/// `target` can be written to, and is 8 bytes aligned.
#[inline(always)]
unsafe fn address(sock: u64, offset: u32, length: u32, target: *mut [u8; 16]) -> Option<()> {
    let from = (sock + u64::from(offset)) as *const c_void;
    // SAFETY: see the caller's; the helper checks the source.
    let failed = unsafe {
        target.cast::<u64>().write_volatile(0);
        target.cast::<u64>().add(1).write_volatile(0);
        // Lengths that are known: the verifier of Linux 6.1 would not trust another.
        match length {
            4 => read_kernel(target.cast(), 4, from),
            _ => read_kernel(target.cast(), 16, from),
        }
    };
    (failed == 0).then_some(())
}

/// Whether a Unix socket carries TLS: what the process sends on it begins like a record of TLS
/// (RFC 8446, section 5.1). Log daemons are spoken to on Unix sockets too.
fn is_tls_over_unix(sock: u64, layout: &SocketLayout) -> Option<bool> {
    if layout.unix_address == 0 || read::<u16>(sock, layout.kind)? != SOCK_STREAM {
        return None;
    }
    Some(memory_bio::is_record(&machine::user_bytes::<3>(machine::sent_from()?)?))
}

fn names(sock: u64, layout: &SocketLayout, method: u32, payload: *mut UnixEndpoints) -> Option<()> {
    let peer: u64 = read(sock, layout.unix_peer)?;
    // SAFETY: the payload is that of a record that is reserved.
    unsafe {
        (*payload).method = method;
        (*payload).namespace = namespace(sock, layout);
        (*payload).local_len = name(sock, layout, (&raw mut (*payload).local).cast())?;
        (*payload).peer_len = name(peer, layout, (&raw mut (*payload).peer).cast())?;
    }
    Some(())
}

/// Copies the name of a Unix socket, if it has one, and gives its length.
///
/// `struct unix_address { refcount_t refcnt; int len; struct sockaddr_un name[]; }`
/// (include/net/af_unix.h); `len` counts the two bytes of the family before the name.
fn name(sock: u64, layout: &SocketLayout, target: *mut c_void) -> Option<u32> {
    let address = if sock == 0 { 0 } else { read::<u64>(sock, layout.unix_address)? };
    if address == 0 {
        // SAFETY: the target has room; a ring record is not cleared before it is used.
        unsafe { core::ptr::write_bytes(target.cast::<u64>(), 0, UNIX_NAME_LEN / 8) };
        return Some(0);
    }
    let length: u32 = read(address, 4)?;
    let from = (address + 10) as *const c_void;
    // SAFETY: the target has room; the helper checks the source.
    let failed = unsafe { read_kernel(target, UNIX_NAME_LEN as u32, from) };
    (failed == 0).then(|| length.saturating_sub(2))
}

/// Inode of the network namespace of a socket, or 0.
fn namespace(sock: u64, layout: &SocketLayout) -> u32 {
    if layout.net == 0 {
        return 0;
    }
    let inode = read::<u64>(sock, layout.net).and_then(|net| read::<u32>(net, layout.net_inode));
    inode.unwrap_or(0)
}

fn read<T>(structure: u64, offset: u32) -> Option<T> {
    let field = (structure + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(field.cast()) }.ok()
}

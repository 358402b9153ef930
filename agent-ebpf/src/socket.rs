//! Sockets: which TCP connection a TLS object uses.
//!
//! A socket that sends or receives while its thread is inside a TLS call is that call's. No file
//! descriptor and no structure of the library is looked at (tracepoints of Linux 6.3).

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use tlstap_ebpf::{AF_INET, AF_INET6, Endpoints, SocketLayout};

use crate::{call, connection, emit};

const IPPROTO_TCP: u16 = 6;

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
});

#[raw_tracepoint(tracepoint = "sock_send_length")]
pub(crate) fn socket_send(ctx: RawTracePointContext) -> i32 {
    let _ = bind(&ctx);
    0
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub(crate) fn socket_receive(ctx: RawTracePointContext) -> i32 {
    let _ = bind(&ctx);
    0
}

fn bind(ctx: &RawTracePointContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let object = call::object(thread)?;
    let connection = connection::find((thread >> 32) as u32, object)?;
    if connection.bound != 0 {
        return None;
    }
    let endpoints = endpoints(ctx.arg::<u64>(0))?;
    if emit::socket(thread, object, connection.birth, endpoints) {
        connection.bound = 1;
    }
    Some(())
}

/// The addresses of a `struct sock`; `None` when it is not a TCP socket.
fn endpoints(sock: u64) -> Option<Endpoints> {
    let layout = SOCKET_LAYOUT.load();
    let family: u16 = read(sock, layout.family)?;
    if read::<u16>(sock, layout.protocol)? != IPPROTO_TCP {
        return None;
    }
    let mut endpoints = Endpoints {
        family: u32::from(family),
        local_port: u32::from(read::<u16>(sock, layout.local_port)?),
        peer_port: u32::from(read::<u16>(sock, layout.peer_port)?),
        pad: 0,
        local: [0; 16],
        peer: [0; 16],
    };
    match family {
        AF_INET => {
            let (local, peer) = (read(sock, layout.local_v4)?, read(sock, layout.peer_v4)?);
            endpoints.local = widen(local);
            endpoints.peer = widen(peer);
        }
        AF_INET6 => {
            endpoints.local = read(sock, layout.local_v6)?;
            endpoints.peer = read(sock, layout.peer_v6)?;
        }
        _ => return None,
    }
    Some(endpoints)
}

fn widen([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn read<T>(sock: u64, offset: u32) -> Option<T> {
    let field = (sock + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(field.cast()) }.ok()
}

//! Programs that do the I/O themselves (Node, Python's asyncio): the TLS library writes ciphertext
//! into memory, and the process sends it after the TLS call.
//!
//! The first bytes of a TLS record are as good as random, so a socket that sends a record with
//! the same beginning sends *that* record. Nothing else is concluded from: not the thread, not the
//! order, not the length.

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{map, uprobe},
    maps::{Array, LruHashMap},
    programs::ProbeContext,
};
use tlstap_ebpf::{ConnectionKey, EndedKey, binding, method};

use crate::{connection, machine, socket, thread};

/// The header of a record (5 bytes), the explicit nonce that TLS 1.2 may have behind it (8 bytes,
/// which may be a mere counter: RFC 5288, section 3), and 8 bytes of ciphertext. Fewer is less
/// than the shortest record with plaintext in it has.
const LENGTH: usize = 21;

/// The beginning of a record that a process made.
#[derive(Clone, Copy)]
#[repr(C)]
struct Beginning {
    bytes: [u8; LENGTH],
    pad: [u8; 3],
    tgid: u32,
    pad2: u32,
}

/// 1 when any process is known to do so.
#[map]
static MEMORY_BIOS: Array<u32> = Array::with_max_entries(1, 0);

/// Records that were made and not yet seen sent, and by whom.
#[map]
static MADE: LruHashMap<Beginning, EndedKey> = LruHashMap::with_max_entries(8_192, 0);

/// Processes that have made such records.
#[map]
static MAKERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(4_096, 0);

/// A TLS library hands ciphertext over: `(BIO *, const void *data, length)`.
#[uprobe]
pub(crate) fn bio_write(ctx: ProbeContext) -> u32 {
    let _ = made(&ctx);
    0
}

fn made(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let known = thread::known()?;
    let object = known.inner().or_else(|| known.outer())?;
    let key = ConnectionKey { object, tgid, pad: 0 };
    let began = connection::began(tgid, Some(known));
    let connection = connection::find(tgid, key.object, began)?;
    if connection.binding == binding::KNOWN {
        return None;
    }
    let length: u64 = ctx.arg(2)?;
    if (length as u32) < LENGTH as u32 {
        return None;
    }
    let beginning = beginning(tgid, ctx.arg(1)?)?;
    let _ = MADE.insert(&beginning, &EndedKey { key, birth: connection.birth }, 0);
    let _ = MAKERS.insert(&tgid, &1, 0);
    Some(())
}

/// A socket sent something outside any TLS call.
pub(crate) fn sent(thread: u64, sock: u64) -> Option<()> {
    if *MEMORY_BIOS.get(0)? == 0 {
        return None;
    }
    let tgid = (thread >> 32) as u32;
    // SAFETY: the value is not read.
    unsafe { MAKERS.get(&tgid) }?;
    let beginning = beginning(tgid, machine::sent_from()?)?;
    // SAFETY: the entry is copied before it is removed.
    let EndedKey { key, birth } = *unsafe { MADE.get(&beginning) }?;
    let _ = MADE.remove(&beginning);
    let connection = connection::known(&key)?;
    if connection.birth != birth || connection.binding == binding::KNOWN {
        return None;
    }
    if socket::tell(thread, &key, birth, sock, method::CIPHERTEXT)? {
        connection.binding = binding::KNOWN;
    }
    Some(())
}

fn beginning(tgid: u32, address: u64) -> Option<Beginning> {
    let bytes: [u8; LENGTH] = machine::user_bytes(address)?;
    is_record(&[bytes[0], bytes[1], bytes[2]]).then_some(Beginning {
        bytes,
        pad: [0; 3],
        tgid,
        pad2: 0,
    })
}

/// Whether bytes begin like a TLS record with content that is not always the same: its type, then
/// version 3.x (RFC 8446, section 5.1).
pub(crate) fn is_record(&[kind, major, minor]: &[u8; 3]) -> bool {
    const ALERT: u8 = 21;
    const HEARTBEAT: u8 = 24;
    (ALERT..=HEARTBEAT).contains(&kind) && major == 3 && minor <= 4
}

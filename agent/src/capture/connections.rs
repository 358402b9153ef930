//! What the kernel half keeps of connections, for those whose end it could not tell.

use std::{
    mem::offset_of,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{HashMap, MapData};
use tlstap_ebpf::{Connection, ConnectionKey as KernelKey, EndedKey};

use super::{
    Call, Chunk, ChunkContent, ConnectionKey, GapReason, Shard, fields::Fields, losses::Counters,
};

type KeyBytes = [u8; size_of::<KernelKey>()];
type EndedBytes = [u8; size_of::<EndedKey>()];
type ValueBytes = [u8; size_of::<Connection>()];

/// The connections that are open.
#[derive(Clone)]
pub struct Connections {
    map: Arc<Mutex<Map>>,
    losses: Counters,
}

/// The kernel half's own table.
type Map = HashMap<MapData, KeyBytes, ValueBytes>;

impl Connections {
    pub(crate) fn new(map: Map, losses: Counters) -> Self {
        Self { map: Arc::new(Mutex::new(map)), losses }
    }

    /// Takes out the connections of a process that has ended, as far as they are in the shard:
    /// [`ChunkContent::Close`] of each, with what no record told. `known` are those of which there
    /// were records.
    pub fn left_by(
        &self,
        pid: u32,
        known: Vec<ConnectionKey>,
        shard: Shard,
    ) -> Vec<(ConnectionKey, ChunkContent)> {
        // No code that holds the lock panics half-way through a change.
        let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = known;
        // Of others, every record may have been lost.
        if self.losses.any_record() {
            left.extend(of_process(&map, pid).filter(|key| shard.holds(key)));
        }
        left.into_iter().filter_map(|key| Some((key, take(&mut map, &key)?))).collect()
    }
}

/// `None` when the kernel half knows the connection no more.
fn take(map: &mut Map, connection: &ConnectionKey) -> Option<ChunkContent> {
    let key = key_bytes(connection.pid, connection.object);
    let value = map.get(&key, 0).ok()?;
    if birth(&value)? != connection.birth {
        return None;
    }
    // Gone already when the kernel half evicted it meanwhile.
    let _ = map.remove(&key);
    close(&value)
}

/// The open connections of a process. Looks through all.
fn of_process(map: &Map, pid: u32) -> impl Iterator<Item = ConnectionKey> {
    map.iter()
        .filter_map(Result::ok)
        .filter_map(|(key, value)| connection_key(&key, birth(&value)?))
        .filter(move |key| key.pid == pid)
}

/// Ends of connections and processes that the ring had no room for.
#[derive(Debug)]
pub struct Ended(HashMap<MapData, EndedBytes, ValueBytes>);

impl Ended {
    pub(crate) const fn new(map: HashMap<MapData, EndedBytes, ValueBytes>) -> Self {
        Self(map)
    }

    /// Takes all out: connections first, then processes.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        let found: Vec<_> = self.0.iter().filter_map(Result::ok).collect();
        let mut chunks: Vec<_> = found
            .into_iter()
            .filter_map(|(key, value)| {
                let _ = self.0.remove(&key);
                chunk(&key, &value)
            })
            .collect();
        chunks.sort_by_key(|chunk| (chunk.content == ChunkContent::Exit, chunk.connection));
        chunks
    }
}

fn chunk(key: &EndedBytes, value: &ValueBytes) -> Option<Chunk> {
    let birth = Fields(key).u64(offset_of!(EndedKey, birth))?;
    let connection = connection_key(&Fields(key).bytes(offset_of!(EndedKey, key))?, birth)?;
    let call = Call {
        tid: connection.pid,
        thread_name: [0; 16],
        library: Fields(value).u32(offset_of!(Connection, library))?,
        entered: connection.birth,
        returned: connection.birth,
    };
    let content = if birth == 0 { ChunkContent::Exit } else { close(value)? };
    Some(Chunk { connection, call, content })
}

fn close(value: &ValueBytes) -> Option<ChunkContent> {
    let field = Fields(value);
    let offset = |side: usize| field.u64(offset_of!(Connection, offset) + 8 * side);
    let loss = |side: usize| {
        let code = field.u32(offset_of!(Connection, loss) + 4 * side)?;
        u8::try_from(code).ok().map(GapReason::from_code)
    };
    let (offsets, losses) = ([offset(0)?, offset(1)?], [loss(0)?, loss(1)?]);
    Some(ChunkContent::Close { offsets, losses })
}

fn birth(value: &ValueBytes) -> Option<u64> {
    Fields(value).u64(offset_of!(Connection, birth))
}

fn connection_key(key: &KeyBytes, birth: u64) -> Option<ConnectionKey> {
    let field = Fields(key);
    let (object, pid) =
        (field.u64(offset_of!(KernelKey, object))?, field.u32(offset_of!(KernelKey, tgid))?);
    Some(ConnectionKey { pid, object, birth })
}

fn key_bytes(pid: u32, object: u64) -> KeyBytes {
    let mut bytes = [0; size_of::<KernelKey>()];
    let (left, right) = bytes.split_at_mut(offset_of!(KernelKey, tgid));
    left.copy_from_slice(&object.to_ne_bytes());
    if let Some(tgid) = right.first_chunk_mut() {
        *tgid = pid.to_ne_bytes();
    }
    bytes
}

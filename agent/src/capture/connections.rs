//! What the kernel half keeps of connections, for those whose end it could not tell.

use std::{
    mem::offset_of,
    sync::{Arc, Mutex, PoisonError},
};

use aya::maps::{Array, HashMap, MapData};
use rustix::time::{ClockId, clock_gettime};
use tlstap_ebpf::{Connection, ConnectionKey as KernelKey, EndedKey};

use super::{
    Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason, Shard, fields::Fields,
    losses::Counters,
};

type KeyBytes = [u8; size_of::<KernelKey>()];
type EndedBytes = [u8; size_of::<EndedKey>()];
type ValueBytes = [u8; size_of::<Connection>()];

/// The connections that are open.
#[derive(Clone)]
pub struct Connections {
    kernel: Arc<Mutex<Kernel>>,
    losses: Counters,
    interrupted: Interrupted,
}

/// What the kernel half keeps of connections, and what tells it that it has missed some.
pub(crate) struct Kernel {
    pub(crate) map: Map,
    /// See [`tlstap_ebpf::name::SINCE`].
    pub(crate) since: Array<MapData, u64>,
    /// See [`tlstap_ebpf::name::GENERATION`].
    pub(crate) generation: Array<MapData, u64>,
}

/// Chunks about connections that were interrupted, for the reader of the ring to pass on: records of
/// before may still be unread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupted(Arc<Mutex<Vec<Chunk>>>);

impl Interrupted {
    fn add(&self, chunks: impl IntoIterator<Item = Chunk>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(chunks);
    }

    fn take(&self) -> Vec<Chunk> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The kernel half's own table.
type Map = HashMap<MapData, KeyBytes, ValueBytes>;

impl Connections {
    pub(crate) fn new(kernel: Kernel, losses: Counters, interrupted: Interrupted) -> Self {
        Self { kernel: Arc::new(Mutex::new(kernel)), losses, interrupted }
    }

    /// No probe is in place any more: what happens on connections from now on is not seen, nor their
    /// ends, and their TLS objects may be used for others. So all of them end here, behind a gap of
    /// unknown length in each direction that was used.
    pub fn interrupt(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = std::time::Duration::try_from(now).unwrap_or_default().as_nanos();
        let now = u64::try_from(now).unwrap_or_default();
        // No code that holds the lock panics half-way through a change.
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let Kernel { map, since, generation } = &mut *kernel;
        // First, so that no call that is still under way begins a connection.
        for array in [since, generation] {
            if let Err(error) = array.set(0, now, 0) {
                tracing::warn!(%error, "calls that are under way may be taken for others");
            }
        }
        let all: Vec<_> = map.iter().filter_map(Result::ok).collect();
        for (key, value) in all {
            // Gone already when the kernel half evicted it meanwhile.
            let _ = map.remove(&key);
            self.interrupted.add(interrupted(&key, &value, now).into_iter().flatten());
        }
    }

    /// Takes out the connections of a process that has ended, as far as they are in the shard:
    /// [`ChunkContent::Close`] of each, with what no record told. `known` are those of which there
    /// were records. A process that has its number since may have others: those are left that began
    /// after the end, in nanoseconds of the kernel's clock (0: not known).
    pub fn left_by(
        &self,
        pid: u32,
        ended: u64,
        known: Vec<ConnectionKey>,
        shard: Shard,
    ) -> Vec<(ConnectionKey, ChunkContent)> {
        // No code that holds the lock panics half-way through a change.
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let map = &mut kernel.map;
        let mut left = known;
        // Of others, every record may have been lost.
        if self.losses.any_record() {
            left.extend(of_process(map, pid).filter(|key| shard.holds(key)));
        }
        let its_own = |key: &ConnectionKey| ended == 0 || key.birth <= ended;
        let left = left.into_iter().filter(its_own);
        left.filter_map(|key| Some((key, take(map, &key)?))).collect()
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

/// Ends of connections and processes that the ring had no room for, or that the agent itself made.
#[derive(Debug)]
pub struct Ended {
    map: HashMap<MapData, EndedBytes, ValueBytes>,
    interrupted: Interrupted,
}

impl Ended {
    pub(crate) const fn new(
        map: HashMap<MapData, EndedBytes, ValueBytes>,
        interrupted: Interrupted,
    ) -> Self {
        Self { map, interrupted }
    }

    /// Takes all out: connections first, then processes.
    pub(super) fn take(&mut self) -> Vec<Chunk> {
        let mut all = self.interrupted.take();
        let found: Vec<_> = self.map.iter().filter_map(Result::ok).collect();
        let mut chunks: Vec<_> = found
            .into_iter()
            .filter_map(|(key, value)| {
                let _ = self.map.remove(&key);
                chunk(&key, &value)
            })
            .collect();
        chunks.sort_by_key(|chunk| (chunk.content == ChunkContent::Exit, chunk.connection));
        all.append(&mut chunks);
        all
    }
}

/// What is told of a connection that was interrupted.
fn interrupted(key: &KeyBytes, value: &ValueBytes, now: u64) -> Option<Vec<Chunk>> {
    let connection = connection_key(key, birth(value)?)?;
    let call = Call {
        tid: connection.pid,
        thread_name: [0; 16],
        library: Fields(value).u32(offset_of!(Connection, library))?,
        entered: now,
        returned: now,
    };
    let ChunkContent::Close { offsets, losses } = close(value)? else { return None };
    let used = Direction::BOTH.into_iter().filter(|direction| *direction.of(&offsets) > 0);
    let gap = |direction: Direction| ChunkContent::Gap {
        direction,
        offset: *direction.of(&offsets),
        length: 0,
        reason: GapReason::Detached,
        loss: *direction.of(&losses),
    };
    let end = ChunkContent::Close { offsets, losses: [GapReason::Unknown; 2] };
    let contents = used.map(gap).chain([end]);
    Some(contents.map(|content| Chunk { connection, call, content }).collect())
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

//! Ring bytes in, chunks out.

mod chunk;

pub use chunk::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason};

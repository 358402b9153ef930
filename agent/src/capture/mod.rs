//! Ring bytes in, chunks out.

mod chunk;
mod losses;
mod ring;

pub use chunk::{Call, Chunk, ChunkContent, ConnectionKey, Direction, Endpoints, GapReason};
pub use losses::{Losses, LossesError};
pub use ring::Reader;

//! Ring bytes in, chunks out.

mod blocks;
mod chunk;
mod connections;
mod fields;
mod losses;
mod meter;
mod queue;
mod ring;
mod socket;

pub use blocks::Blocks;
pub use chunk::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason};
pub use connections::{Connections, Ended};
pub(crate) use connections::{Interrupted, Kernel};
pub use losses::{Counters, Losses, LossesError};
pub use meter::Meter;
pub use queue::{Receiver, Sender, Shard, queue};
pub use ring::{Reader, Ring};
pub use socket::{Endpoints, Method, Socket};

//! The stages chained: discover → resolve → attach ⇢ kernel ⇢ capture → reassemble → decode →
//! enrich → emit. The only part that knows them all.

mod admissions;
mod ciphertext;
mod confined;
mod decoders;
mod hooking;
mod hooks;
mod limiting;
mod list;
mod metrics;
mod namespaces;
mod places;
mod progress;
mod replay;
mod selection;
mod sockets;
mod stop;
mod stream;
mod summary;
mod targets;
mod trace;
mod turns;
mod unprobed;
mod versions;
mod wanted;

pub(crate) use hooks::report;
pub use list::list;
pub use replay::{Replay, replay};
pub use stop::{leave, stopped};
pub use summary::Summary;
pub use trace::{Trace, trace};
pub use wanted::Wanted;

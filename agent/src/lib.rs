//! tlstap: the plaintext of TLS traffic on a Linux node, from the outside.
//!
//! The stages, each a folder, are chained in `pipeline`: discover → resolve → attach ⇢ kernel ⇢
//! capture → reassemble → decode → redact → enrich → emit.

pub mod attach;
pub mod capture;
pub mod check;
pub mod cli;
pub mod command;
pub mod decode;
pub mod discover;
pub mod emit;
pub mod enrich;
pub mod enter;
pub mod expression;
pub mod fs;
pub mod generate;
pub mod heartbeat;
pub mod inventory;
pub mod limits;
pub mod metrics;
pub mod pipeline;
pub mod privilege;
pub mod reassemble;
mod recording;
pub mod redact;
pub mod resolve;
pub mod select;
pub mod target;
pub mod terminal;

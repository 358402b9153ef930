//! tlstap: the plaintext of TLS traffic on a Linux node, from the outside.
//!
//! The stages, each a folder, are chained in `pipeline`: discover → resolve → attach ⇢ kernel ⇢
//! capture → reassemble → decode → enrich → emit.

pub mod capture;
pub mod decode;
pub mod emit;
pub mod enrich;
pub mod reassemble;

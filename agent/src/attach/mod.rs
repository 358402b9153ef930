//! Libraries in, attachments out; dropping an attachment detaches it.
//!
//! The only stage that knows aya's programs. Probes go through open descriptors, one attachment a
//! real file, for all processes or for one.

mod apart;
mod copying;
mod guard;
mod layout;
mod multi;
mod probes;
mod programs;
mod registry;
mod verdicts;

pub use copying::Copying;
pub use guard::{Guard, Outcome, Refusal, ReturnProbes};
pub use probes::{AttachError, Attachment, Links, Scope};
pub use programs::{KernelHalf, LoadError, Options, Programs, Sockets};
pub use registry::{Registry, User};
pub use verdicts::{Verdict, Verdicts};

//! What the stages tell of themselves when they are asked.

use std::collections::BTreeMap;

use prometheus_client::registry::Registry;

use super::{requests::Labels, samples::Samples};
use crate::{capture::Direction, limits::Level};

/// The stages at a moment.
#[derive(Debug, Default)]
pub struct State {
    /// Bytes of plaintext that came out of the ring, by [`Direction::index`].
    pub plaintext: [u64; 2],
    /// What was lost, by stage and reason.
    pub losses: Vec<(&'static str, &'static str, u64)>,
    /// What could not be decoded, by reason.
    pub decode_errors: [(&'static str, u64); 2],
    /// The ring buffer.
    pub ring: Ring,
    /// How often a limit of the agent led to each level.
    pub levels: Vec<(Level, u64)>,
    /// The level now; absent while it changes.
    pub level: Option<Level>,
    /// Bytes of chunks that wait for the decoders.
    pub queued: u64,
    /// Absent until the hooking thread has answered.
    pub libraries: Option<Libraries>,
    /// Absent when nothing is exported.
    pub exported: Option<Exported>,
}

/// The export of spans.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exported {
    /// What became of exchanges.
    pub spans: [(&'static str, u64); 5],
    /// Exchanges that wait.
    pub waiting: u64,
    /// Bytes that these hold.
    pub bytes: u64,
}

/// The ring buffer, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ring {
    /// How large it is.
    pub size: u64,
    /// What nobody has read yet.
    pub unread: u64,
    /// The most that was found unread.
    pub peak: u64,
}

/// What is probed, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    /// Files that are probed, by the name of the library.
    pub hooked: BTreeMap<String, u64>,
    /// Processes that use them.
    pub processes: u64,
    /// Files with TLS code that are not probed, by reason.
    pub skipped: BTreeMap<&'static str, u64>,
}

impl State {
    /// Writes it down.
    pub(super) fn register(&self, registry: &mut Registry) {
        if let Some(libraries) = &self.libraries {
            libraries.register(registry);
        }
        if let Some(exported) = &self.exported {
            exported.register(registry);
        }
        let plaintext = Direction::BOTH.map(|direction| {
            let labels = vec![("network_io_direction", direction.as_str().into())];
            (labels, *direction.of(&self.plaintext))
        });
        let help = "Bytes of plaintext that were captured";
        registry.register("tlstap_plaintext_bytes", help, Samples::counters(plaintext.into()));
        let losses = self.losses.iter().map(|&(stage, reason, count)| {
            (vec![("stage", stage.into()), ("reason", reason.into())], count)
        });
        let help = "Pieces of plaintext and calls that were lost, by where and why";
        registry.register("tlstap_losses", help, Samples::counters(losses.collect()));
        let errors = self.decode_errors.iter();
        let errors = errors.map(|&(reason, count)| (vec![("reason", reason.into())], count));
        let help = "What could not be decoded";
        registry.register("tlstap_decode_errors", help, Samples::counters(errors.collect()));
        self.ring.register(registry);
        self.register_levels(registry);
        let help = "Bytes that wait for the decoders";
        registry.register("tlstap_queue_bytes", help, Samples::gauge(self.queued));
    }

    fn register_levels(&self, registry: &mut Registry) {
        let row =
            |level: Level, value: u64| (vec![("level", level.as_str().into())] as Labels, value);
        let now = Level::ALL.map(|level| row(level, u64::from(self.level == Some(level))));
        let help = "How much is traced as far as the limits of the agent go: 1 for the level now";
        registry.register("tlstap_limit_level", help, Samples::gauges(now.into()));
        let steps = self.levels.iter().map(|&(level, count)| row(level, count));
        let help = "Steps to each level, by the limits of the agent";
        registry.register("tlstap_limit_steps", help, Samples::counters(steps.collect()));
    }
}

impl Ring {
    fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, value| registry.register(name, help, Samples::gauge(value));
        gauge("tlstap_ring_size_bytes", "Size of the ring buffer", self.size);
        gauge(
            "tlstap_ring_unread_bytes",
            "Bytes of the ring buffer that are not read",
            self.unread,
        );
        let help = "Most bytes of the ring buffer that were found unread since the start";
        gauge("tlstap_ring_unread_peak_bytes", help, self.peak);
    }
}

impl Exported {
    fn register(&self, registry: &mut Registry) {
        let spans = self.spans.iter();
        let spans = spans.map(|&(result, count)| (vec![("result", result.into())], count));
        let help = "Exchanges that were to be exported as spans, by what became of them";
        registry.register("tlstap_otlp_spans", help, Samples::counters(spans.collect()));
        let help = "Exchanges that wait to be exported";
        registry.register("tlstap_otlp_queue_spans", help, Samples::gauge(self.waiting));
        let help = "Bytes of exchanges that wait to be exported";
        registry.register("tlstap_otlp_queue_bytes", help, Samples::gauge(self.bytes));
    }
}

impl Libraries {
    fn register(&self, registry: &mut Registry) {
        let hooked = self
            .hooked
            .iter()
            .map(|(name, count)| (vec![("tls_library", name.clone().into())] as Labels, *count));
        let help = "Files that are probed, by the TLS library in them";
        registry.register("tlstap_libraries_hooked", help, Samples::gauges(hooked.collect()));
        let help = "Processes that use files that are probed";
        registry.register("tlstap_processes_hooked", help, Samples::gauge(self.processes));
        let skipped = self.skipped.iter();
        let skipped = skipped.map(|(reason, count)| (vec![("reason", (*reason).into())], *count));
        let help = "Files with TLS code that are not probed, by the reason";
        registry.register("tlstap_libraries_skipped", help, Samples::gauges(skipped.collect()));
    }
}

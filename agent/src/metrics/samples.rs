//! Values of a moment, as prometheus-client writes them.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::requests::{Durations, Labels};

/// Numbers with their labels: of counters, or of gauges.
#[derive(Debug)]
pub(super) struct Samples<N> {
    kind: MetricType,
    rows: Vec<(Labels, N)>,
}

impl<N> Samples<N> {
    pub(super) const fn counters(rows: Vec<(Labels, N)>) -> Self {
        Self { kind: MetricType::Counter, rows }
    }

    pub(super) const fn gauges(rows: Vec<(Labels, N)>) -> Self {
        Self { kind: MetricType::Gauge, rows }
    }

    /// One without labels.
    pub(super) fn counter(value: N) -> Self {
        Self::counters(vec![(Labels::new(), value)])
    }

    /// Likewise.
    pub(super) fn gauge(value: N) -> Self {
        Self::gauges(vec![(Labels::new(), value)])
    }
}

impl<N: EncodeCounterValue + EncodeGaugeValue> EncodeMetric for Samples<N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, value) in &self.rows {
            let mut row = encoder.encode_family(labels)?;
            match self.kind {
                MetricType::Counter => row.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                _ => row.encode_gauge(value)?,
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Durations with their labels.
#[derive(Debug)]
pub(super) struct Histograms(pub(super) Vec<(Labels, Durations)>);

impl EncodeMetric for Histograms {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (labels, Durations { seconds, count, buckets }) in &self.0 {
            let mut row = encoder.encode_family(labels)?;
            row.encode_histogram::<NoLabelSet>(*seconds, *count, buckets, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

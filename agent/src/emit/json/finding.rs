//! One finding of `tlstap list`.

use std::io::{self, Write};

use serde::Serialize;

use super::{
    SCHEMA, compact,
    origin::{ContainerJson, K8s, ProcessJson, Tls},
};
use crate::{
    inventory::{Finding, Status},
    resolve,
};

/// Writes one object a line.
pub(in super::super) fn write(findings: &[Finding], out: &mut impl Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for finding in findings {
        compact::write(&Line::of(finding), &mut lines)?;
        lines.push(b'\n');
    }
    out.write_all(&lines)
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    process: ProcessJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s: Option<K8s<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    probes: Vec<Probe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<File>,
}

#[derive(Serialize)]
struct Probe {
    symbol: &'static str,
    method: &'static str,
    sites: [Site; 1],
}

#[derive(Serialize)]
struct Site {
    offset: u64,
    file_offset: u64,
    class: &'static str,
}

impl Probe {
    fn of(probe: &resolve::Probe) -> Self {
        let site = Site {
            offset: probe.site.offset,
            file_offset: probe.site_offset(),
            class: probe.site.class.as_str(),
        };
        Self { symbol: probe.symbol, method: probe.method.as_str(), sites: [site] }
    }
}

#[derive(Serialize)]
struct File {
    key: String,
}

impl<'a> Line<'a> {
    fn of(finding: &'a Finding) -> Self {
        let (status, reason, probes) = match &finding.status {
            Status::Hooked(probes) => ("hooked", None, probes.as_slice()),
            Status::Skipped(reason) => ("skipped", Some(reason.as_str()), [].as_slice()),
        };
        Self {
            schema: SCHEMA,
            kind: "library",
            process: ProcessJson::of(&finding.process),
            container: finding.container.as_deref().map(ContainerJson::of),
            k8s: K8s::of(finding.container.as_deref()),
            tls: finding.library.as_ref().map(Tls::of),
            status,
            reason,
            probes: probes.iter().map(Probe::of).collect(),
            file: finding.file.map(|key| File { key: key.to_string() }),
        }
    }
}

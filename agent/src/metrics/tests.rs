//! The text as a monitoring system reads it, against what was counted and what is documented.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    decode::{Content, Grpc, Opcode, Role, System, Version},
    emit::{self, sample},
    enrich::Record,
    limits::Level,
};

const DOCS: &str = include_str!("../../../docs/metrics.md");

/// A sample of the text: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// All stages with something to tell.
fn state() -> State {
    State {
        plaintext: [10, 20],
        losses: vec![("kernel", "ring-full", 3), ("queue", "queue-full", 4)],
        decode_errors: [("malformed", 5), ("record", 6)],
        ring: Ring { size: 4096, unread: 100, peak: 200 },
        levels: vec![(Level::Full, 1), (Level::Headers, 2), (Level::Sampled, 0)],
        level: Some(Level::Headers),
        queued: 7,
        libraries: Some(Libraries {
            hooked: BTreeMap::from([("openssl".to_owned(), 2)]),
            processes: 3,
            skipped: BTreeMap::from([("stripped", 1)]),
        }),
        exported: Some(Exported { spans: SPANS, waiting: 9, bytes: 10 }),
    }
}

/// What there is after these records.
const SPANS: [(&str, u64); 5] =
    [("exported", 8), ("rejected", 1), ("failed", 2), ("dropped", 3), ("unsampled", 4)];

fn page(records: &[Record]) -> String {
    let metrics = Metrics::default();
    let mut tally = metrics.tally();
    records.iter().for_each(|record| tally.count(record));
    text(metrics.started, &metrics.traffic, Some(state()))
}

fn samples(page: &str) -> Vec<Sample> {
    page.lines().filter(|line| !line.starts_with('#')).map(sample_of).collect()
}

fn sample_of(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap();
    let pairs = labels.split_terminator("\",").map(|pair| {
        let (name, value) = pair.split_once("=\"").unwrap();
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), pairs.collect(), value.parse().unwrap())
}

/// The values of a metric, by one of its labels.
fn by(page: &str, metric: &str, label: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for (name, labels, value) in samples(page) {
        if name == metric {
            *found.entry(labels[label].clone()).or_default() += value;
        }
    }
    found
}

fn grpc(role: Role, status: Option<u32>) -> Record {
    let mut record = sample::http();
    let exchange = sample::exchange(&mut record);
    exchange.role = role;
    exchange.grpc = Some(Box::new(Grpc { status, ..Grpc::default() }));
    record
}

fn served(mut record: Record) -> Record {
    sample::exchange(&mut record).role = Role::Server;
    record
}

/// Every type, and every histogram.
fn all() -> Vec<Record> {
    let mut records = vec![
        sample::data(b"secret"),
        sample::gap(),
        sample::http(),
        served(sample::http()),
        grpc(Role::Client, Some(0)),
        grpc(Role::Server, Some(14)),
        sample::websocket(Opcode::Text, b"secret"),
        sample::event(b"secret"),
        sample::opaque(),
    ];
    for system in System::ALL {
        records.extend([sample::operation(system), sample::failure(system)]);
    }
    records
}

#[test]
fn every_record_is_counted_by_the_type_of_the_output() {
    let records = all();
    let mut types = BTreeMap::<String, f64>::new();
    for record in &records {
        let line = serde_json::to_value(emit::fields(record).unwrap()).unwrap();
        *types.entry(line["type"].as_str().unwrap().to_owned()).or_default() += 1.0;
    }
    assert_eq!(by(&page(&records), "tlstap_events_total", "type"), types);
}

#[test]
fn values_are_those_that_were_counted() {
    let page = page(&all());
    let is = |metric, label, expect: &[(&str, f64)]| {
        let found = by(&page, metric, label);
        for (word, value) in expect {
            assert_eq!(found.get(*word), Some(value), "{metric} {word}: {found:?}");
        }
    };
    is(
        "tlstap_plaintext_bytes_total",
        "network_io_direction",
        &[("transmit", 10.0), ("receive", 20.0)],
    );
    is(
        "tlstap_losses_total",
        "reason",
        &[("ring-full", 3.0), ("queue-full", 4.0), ("memory", 0.0)],
    );
    is("tlstap_losses_total", "stage", &[("kernel", 3.0), ("queue", 4.0), ("decode", 0.0)]);
    is("tlstap_gaps_total", "reason", &[("ring-full", 1.0), ("fault", 0.0)]);
    is("tlstap_gap_bytes_total", "reason", &[("ring-full", 300.0)]);
    is("tlstap_decode_errors_total", "reason", &[("malformed", 5.0), ("record", 6.0)]);
    is("tlstap_libraries_hooked", "tls_library", &[("openssl", 2.0)]);
    is("tlstap_libraries_skipped", "reason", &[("stripped", 1.0)]);
    is("tlstap_requests_total", "protocol", &[("http", 2.0), ("grpc", 2.0), ("redis", 2.0)]);
    is(
        "tlstap_requests_total",
        "status",
        &[("200", 2.0), ("OK", 1.0), ("ok", 9.0), ("error", 9.0)],
    );
    is("tlstap_requests_total", "kind", &[("client", 11.0), ("server", 11.0)]);
    is("tlstap_requests_total", "container_name", &[("web", 22.0)]);
    let codes = [("OK", 1.0)];
    is("rpc_client_call_duration_seconds_count", "rpc_response_status_code", &codes);
    let codes = [("UNAVAILABLE", 1.0)];
    is("rpc_server_call_duration_seconds_count", "rpc_response_status_code", &codes);
    let codes = [("0.001", 0.0), ("0.005", 1.0), ("10", 1.0), ("+Inf", 1.0)];
    let of_mysql = samples(&page).into_iter().filter(|(name, labels, _)| {
        name == "db_client_operation_duration_seconds_bucket" && labels["db_system_name"] == "mysql"
    });
    let of_mysql: BTreeMap<_, _> =
        of_mysql.map(|(_, labels, value)| (labels["le"].clone(), value)).collect();
    for (limit, count) in codes {
        assert_eq!(of_mysql[limit], count, "{of_mysql:?}");
    }
    assert!(page.contains("db_client_operation_duration_seconds_sum{container_name=\"web\""));
}

/// Requests that differ by what a metric does not tell are one row of it.
#[test]
fn no_row_comes_twice() {
    let mut newer = sample::http();
    let exchange = sample::exchange(&mut newer);
    exchange.request.as_mut().unwrap().version = Version::Http2;
    let mut nameless = grpc(Role::Client, Some(0));
    sample::exchange(&mut nameless).request.as_mut().unwrap().method = None;
    let mut unanswered = sample::operation(System::Postgresql);
    let Content::Operation(operation) = &mut unanswered.message.content else { unreachable!() };
    operation.outcome = None;
    let mut posing = sample::http();
    sample::container(&mut posing).name = Some("_OTHER".to_owned());
    let page = page(&[all(), vec![newer, nameless, unanswered, posing]].concat());
    let mut series = BTreeSet::new();
    for (name, labels, _) in samples(&page) {
        assert!(series.insert((name, labels.clone())), "twice: {labels:?} in\n{page}");
    }
    assert_eq!(by(&page, "tlstap_requests_total", "protocol")["http"], 4.0);
    let calls = by(&page, "rpc_client_call_duration_seconds_count", "rpc_system_name");
    assert_eq!(calls["grpc"], 2.0);
    let versions =
        by(&page, "http_client_request_duration_seconds_count", "network_protocol_version");
    assert_eq!((versions["1.1"], versions["2"]), (2.0, 1.0));
}

/// The text has what the table says, and nothing else.
#[test]
fn the_table_of_the_documentation() {
    let page = page(&all());
    let mut told = BTreeSet::new();
    let samples = samples(&page);
    for line in page.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let own = |found: &str| {
            let suffix = found.strip_prefix(name);
            suffix.is_some_and(|suffix| ["", "_bucket", "_sum", "_count"].contains(&suffix))
        };
        let of_it = samples.iter().filter(|(found, ..)| own(found));
        let labels: BTreeSet<_> = of_it.flat_map(|(_, labels, _)| labels.keys()).collect();
        let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").cloned().collect();
        told.insert(format!("{name} {kind} {}", labels.join(" ")));
    }
    let row = |line: &str| -> Option<String> {
        let cells: Vec<_> = line.split('|').map(|cell| cell.replace('`', "")).collect();
        let [_, name, kind, labels, ..] = cells.as_slice() else { return None };
        let mut labels: Vec<_> = labels.split([',', ' ']).filter(|word| !word.is_empty()).collect();
        labels.sort_unstable();
        let kind = kind.trim();
        let known = ["counter", "gauge", "histogram"].contains(&kind);
        known.then(|| format!("{} {kind} {}", name.trim(), labels.join(" ")))
    };
    let documented: BTreeSet<_> = DOCS.lines().filter_map(row).collect();
    assert_eq!(told, documented);
}

/// Whatever a peer writes into a message, no label has it.
#[test]
fn no_plaintext_in_a_label() {
    const SECRET: &str = "s3cr3t";
    let mut records = all();
    let mut odd = sample::http();
    let exchange = sample::exchange(&mut odd);
    let request = exchange.request.as_mut().unwrap();
    request.method = Some(SECRET.to_owned());
    request.target = Some(SECRET.to_owned());
    exchange.response.as_mut().unwrap().status = Some(777);
    exchange.error = Some(SECRET.to_owned());
    let mut call = grpc(Role::Client, Some(1_234_567));
    let details = sample::exchange(&mut call).grpc.as_mut().unwrap();
    details.service = Some(SECRET.to_owned());
    details.message = Some(SECRET.to_owned());
    let mut failed = sample::failure(System::Postgresql);
    let Content::Operation(operation) = &mut failed.message.content else { unreachable!() };
    operation.name = Some(SECRET.to_owned());
    operation.namespace = Some(SECRET.to_owned());
    operation.outcome.as_mut().unwrap().code = Some(SECRET.to_owned());
    sample::process(&mut failed).command = Some(SECRET.to_owned());
    records.extend([odd, call, failed]);
    let page = page(&records);
    let plaintext = [SECRET, "secret", "777", "1234567", "42P01", "cats", "no table", "/a", "curl"];
    for piece in plaintext {
        assert!(!page.contains(piece), "{piece} in\n{page}");
    }
    assert!(page.contains("http_request_method=\"_OTHER\",http_response_status_code=\"_OTHER\""));
}

#[test]
fn names_are_escaped() {
    let mut record = sample::http();
    sample::container(&mut record).name = Some("a\"} 1\n# HELP b\\".to_owned());
    let page = page(&[record]);
    assert!(page.contains(r#"container_name="a\"} 1\n# HELP b\\""#), "{page}");
}

#[test]
fn nothing_of_the_stages_before_they_run() {
    let metrics = Metrics::default();
    let page = text(metrics.started, &metrics.traffic, None);
    assert!(!page.contains("tlstap_ring") && page.contains("process_resident_memory_bytes "));
}

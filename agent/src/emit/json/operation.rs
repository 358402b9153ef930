//! Queries, commands and messages of protocols other than HTTP, by OpenTelemetry's names.

use serde::{Serialize, Serializer};

use super::messaging::Messaging;
use crate::decode::{Operation, Outcome, System};

/// The part of a line that is named after what kind of system it is.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part<'a> {
    Db(Db<'a>),
    Messaging(Messaging<'a>),
    Mail(Mail<'a>),
}

#[derive(Serialize)]
pub(super) struct Db<'a> {
    system: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Query::is_empty")]
    query: Query<'a>,
    request: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
pub(super) struct Mail<'a> {
    system: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    request: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
}

#[derive(Serialize)]
struct Query<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameter: Parameters<'a>,
}

/// `db.query.parameter.<key>`; the key is the place, from 0.
struct Parameters<'a>(&'a [Option<String>]);

#[derive(Serialize)]
pub(super) struct Size {
    pub(super) size: u64,
}

#[derive(Serialize)]
pub(super) struct Response<'a> {
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned_rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affected_rows: Option<u64>,
}

/// What is said of a failure.
#[derive(Serialize)]
pub(super) struct Failure<'a> {
    /// The protocol's code, or `_OTHER`.
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> Part<'a> {
    pub(super) fn of(operation: &'a Operation) -> Self {
        let name = operation.name.as_deref().map(|name| Named { name });
        let target = operation.target.as_deref().map(|name| Named { name });
        let text = operation.text.as_deref();
        let request = Size { size: operation.request_size };
        let response = Response::of(operation);
        let (system, truncated) = (operation.system.as_str(), operation.truncated);
        match operation.system {
            System::Postgresql | System::Mysql | System::Redis | System::Mongodb => Self::Db(Db {
                system: Named { name: system },
                operation: name,
                namespace: operation.namespace.as_deref(),
                collection: target,
                query: Query { text, parameter: Parameters(&operation.parameters) },
                request,
                response,
                truncated,
            }),
            System::Kafka | System::Amqp | System::Mqtt => {
                Self::Messaging(Messaging::of(operation))
            }
            System::Smtp | System::Imap => {
                Self::Mail(Mail { system, command: name, text, request, response, truncated })
            }
        }
    }
}

impl<'a> Response<'a> {
    pub(super) fn of(operation: &'a Operation) -> Option<Self> {
        let Outcome { code, message, failed, returned, affected } = operation.outcome.as_ref()?;
        Some(Self {
            size: operation.response_size,
            status_code: code.as_deref(),
            // Of a failure it is `error.message`.
            message: message.as_deref().filter(|_| !failed),
            returned_rows: *returned,
            affected_rows: *affected,
        })
    }
}

impl<'a> Failure<'a> {
    pub(super) fn of(operation: &'a Operation) -> Option<Self> {
        let outcome = operation.outcome.as_ref().filter(|outcome| outcome.failed)?;
        let kind = outcome.code.as_deref().unwrap_or("_OTHER");
        Some(Self { kind, message: outcome.message.as_deref() })
    }
}

impl<'a> Failure<'a> {
    /// An exchange that was not brought to its end.
    pub(super) const fn broken_off(kind: &'a str) -> Self {
        Self { kind, message: None }
    }
}

impl Query<'_> {
    const fn is_empty(&self) -> bool {
        self.text.is_none() && self.parameter.is_empty()
    }
}

impl Parameters<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().enumerate())
    }
}

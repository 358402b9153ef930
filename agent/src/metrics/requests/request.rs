//! What is told of a request beside where it was made: words of fixed lists and numbers, never
//! what a peer wrote.

use std::borrow::Cow;

use crate::decode::{self, Content, Exchange, Grpc, Operation, Role, System};

/// Names of labels with their values.
pub(in crate::metrics) type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// What stands for everything that is on no list, as OpenTelemetry has it.
pub(super) const OTHER: &str = "_OTHER";

/// A request with its answer, as far as they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::metrics) struct Request {
    pub(super) role: Role,
    pub(super) protocol: Protocol,
    /// Of HTTP; empty when it is not known.
    version: &'static str,
    /// Likewise.
    method: &'static str,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Http,
    Grpc,
    Other(System),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    /// No answer was seen, or none that tells.
    Unknown,
    /// Of HTTP.
    Code(u16),
    /// Of gRPC.
    Name(&'static str),
    Succeeded,
    Failed,
    /// It is on no list.
    Other,
}

impl Request {
    /// The request that a message is, and how long it took; `None` when it is none.
    pub(in crate::metrics) fn of(content: &Content) -> Option<(Self, Option<u64>)> {
        match content {
            Content::Http(exchange) => Some((Self::of_exchange(exchange), exchange.duration_ns)),
            Content::Operation(operation) => {
                Some((Self::of_operation(operation), operation.duration_ns))
            }
            _ => None,
        }
    }

    fn of_exchange(exchange: &Exchange) -> Self {
        let Exchange { role, request, response, grpc, .. } = exchange;
        let (of_request, of_response) =
            (request.as_ref().map(|it| it.version), response.as_ref().map(|it| it.version));
        let version = of_request.or(of_response).map_or("", |version| version.as_str());
        let method = request.as_ref().and_then(|request| request.method.as_deref());
        let (protocol, status) = match grpc {
            Some(grpc) => (Protocol::Grpc, Status::of_grpc(grpc)),
            None => (Protocol::Http, Status::of_http(response.as_ref().and_then(|it| it.status))),
        };
        Self { role: *role, protocol, version, method: known_method(method), status }
    }

    fn of_operation(operation: &Operation) -> Self {
        let status = match &operation.outcome {
            None => Status::Unknown,
            Some(outcome) if outcome.failed => Status::Failed,
            Some(_) => Status::Succeeded,
        };
        let protocol = Protocol::Other(operation.system);
        Self { role: operation.role, protocol, version: "", method: "", status }
    }

    /// What stands for it where there is no room for more.
    pub(super) const fn folded(self) -> Self {
        let method = if self.method.is_empty() { "" } else { OTHER };
        Self { version: "", method, status: Status::Other, ..self }
    }

    /// The labels that all protocols have in common.
    pub(super) fn labels(&self) -> Labels {
        vec![
            ("kind", self.kind().into()),
            ("protocol", self.protocol.as_str().into()),
            ("http_request_method", self.method.into()),
            ("status", self.status.text()),
        ]
    }

    /// The attributes of OpenTelemetry, whose names depend on the protocol.
    pub(super) fn attributes(&self) -> Labels {
        let error = if self.status == Status::Failed { OTHER } else { "" };
        match self.protocol {
            Protocol::Http => vec![
                ("http_request_method", self.method.into()),
                ("http_response_status_code", self.status.text()),
                ("network_protocol_version", self.version.into()),
            ],
            Protocol::Grpc => vec![
                ("rpc_system_name", "grpc".into()),
                ("rpc_response_status_code", self.status.text()),
            ],
            Protocol::Other(system) => {
                vec![(system_label(system), system.as_str().into()), ("error_type", error.into())]
            }
        }
    }

    const fn kind(&self) -> &'static str {
        match self.role {
            Role::Client => "client",
            Role::Server => "server",
        }
    }
}

impl Protocol {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Other(system) => system.as_str(),
        }
    }
}

impl Status {
    fn of_http(code: Option<u16>) -> Self {
        match code {
            None => Self::Unknown,
            Some(code @ 100..=599) => Self::Code(code),
            Some(_) => Self::Other,
        }
    }

    fn of_grpc(grpc: &Grpc) -> Self {
        let other = if grpc.status.is_some() { Self::Other } else { Self::Unknown };
        grpc.status_name().map_or(other, Self::Name)
    }

    fn text(self) -> Cow<'static, str> {
        match self {
            Self::Unknown => "".into(),
            Self::Code(code) => code.to_string().into(),
            Self::Name(name) => name.into(),
            Self::Succeeded => "ok".into(),
            Self::Failed => "error".into(),
            Self::Other => OTHER.into(),
        }
    }
}

fn known_method(name: Option<&str>) -> &'static str {
    name.map_or("", |name| decode::known_method(name).unwrap_or(OTHER))
}

/// The attribute that names the system.
const fn system_label(system: System) -> &'static str {
    match system {
        System::Postgresql | System::Mysql | System::Redis | System::Mongodb => "db_system_name",
        System::Kafka | System::Amqp | System::Mqtt => "messaging_system",
        System::Smtp | System::Imap => "network_protocol_name",
    }
}

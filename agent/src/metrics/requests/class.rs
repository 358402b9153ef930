//! Which histogram has the durations of a request: OpenTelemetry's, where it has one.

use super::{
    request::{Protocol, Request},
    series::{DATABASE, REQUEST},
};
use crate::decode::{Role, System};

/// Protocols whose requests are measured alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Http,
    Rpc,
    Database,
    Messaging,
    Mail,
}

/// A histogram.
pub(super) struct Family {
    pub(super) class: Class,
    pub(super) role: Role,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

/// Of each class one for each side: a request between two processes of the node is seen by both.
pub(super) const FAMILIES: [Family; 10] = [
    Family {
        class: Class::Http,
        role: Role::Client,
        name: "http_client_request_duration_seconds",
        help: "Duration of HTTP requests that a process of the node sent",
    },
    Family {
        class: Class::Http,
        role: Role::Server,
        name: "http_server_request_duration_seconds",
        help: "Duration of HTTP requests that a process of the node answered",
    },
    Family {
        class: Class::Rpc,
        role: Role::Client,
        name: "rpc_client_call_duration_seconds",
        help: "Duration of calls of gRPC that a process of the node made",
    },
    Family {
        class: Class::Rpc,
        role: Role::Server,
        name: "rpc_server_call_duration_seconds",
        help: "Duration of calls of gRPC that a process of the node answered",
    },
    Family {
        class: Class::Database,
        role: Role::Client,
        name: "db_client_operation_duration_seconds",
        help: "Duration of database operations that a process of the node asked for",
    },
    Family {
        class: Class::Database,
        role: Role::Server,
        name: "tlstap_db_server_operation_duration_seconds",
        help: "Duration of database operations that a process of the node carried out",
    },
    Family {
        class: Class::Messaging,
        role: Role::Client,
        name: "messaging_client_operation_duration_seconds",
        help: "Duration of operations on a message broker that a process of the node asked for",
    },
    Family {
        class: Class::Messaging,
        role: Role::Server,
        name: "tlstap_messaging_server_operation_duration_seconds",
        help: "Duration of operations that a message broker on the node carried out",
    },
    Family {
        class: Class::Mail,
        role: Role::Client,
        name: "tlstap_mail_client_operation_duration_seconds",
        help: "Duration of commands that a process of the node gave a mail server",
    },
    Family {
        class: Class::Mail,
        role: Role::Server,
        name: "tlstap_mail_server_operation_duration_seconds",
        help: "Duration of commands that a mail server on the node carried out",
    },
];

impl Class {
    pub(super) const fn of(request: Request) -> Self {
        match request.protocol {
            Protocol::Http => Self::Http,
            Protocol::Grpc => Self::Rpc,
            Protocol::Other(System::Kafka | System::Amqp | System::Mqtt) => Self::Messaging,
            Protocol::Other(System::Smtp | System::Imap) => Self::Mail,
            Protocol::Other(_) => Self::Database,
        }
    }

    /// The limits of its buckets.
    pub(super) const fn limits(self) -> &'static [f64] {
        match self {
            Self::Database => DATABASE,
            _ => REQUEST,
        }
    }
}

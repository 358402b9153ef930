//! A request and its answer in a protocol other than HTTP: a query, a command, a message. One shape
//! for all of them, so that what shows it need not know the protocols.

use super::Role;
use crate::capture::Direction;

/// The protocol of an operation. A fixed word for output: OpenTelemetry's `db.system.name` or
/// `messaging.system` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// PostgreSQL's frontend/backend protocol 3.
    Postgresql,
    /// The client/server protocol of MySQL and MariaDB.
    Mysql,
    /// RESP 2 and 3.
    Redis,
    /// MongoDB's wire protocol.
    Mongodb,
    /// Apache Kafka's.
    Kafka,
    /// AMQP 0-9-1.
    Amqp,
    /// MQTT 3.1.1 and 5.
    Mqtt,
    /// RFC 5321.
    Smtp,
    /// RFC 9051.
    Imap,
}

impl System {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 9] = [
        Self::Postgresql,
        Self::Mysql,
        Self::Redis,
        Self::Mongodb,
        Self::Kafka,
        Self::Amqp,
        Self::Mqtt,
        Self::Smtp,
        Self::Imap,
    ];

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
            Self::Kafka => "kafka",
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Smtp => "smtp",
            Self::Imap => "imap",
        }
    }
}

/// What was asked, and what came of it. What is not known, or does not exist in the protocol, is
/// absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The protocol.
    pub system: System,
    /// The side that the traced process is on.
    pub role: Role,
    /// From the first byte of the request to the last byte of the answer, nanoseconds. Absent when
    /// either end was not seen.
    pub duration_ns: Option<u64>,
    /// What is done: `SELECT`, `EXECUTE`, `GET`, `Fetch`, `publish`, `MAIL`.
    pub name: Option<String>,
    /// What the target is in: a database.
    pub namespace: Option<String>,
    /// What it is done to: a collection, a topic, a queue.
    pub target: Option<String>,
    /// The whole request as text: SQL, the command with its arguments. Cut at the decoder's limit.
    pub text: Option<String>,
    /// Values that were sent apart from the text, in order; `None` is the protocol's null. What is
    /// no text is in hexadecimal behind `\x`.
    pub parameters: Vec<Option<String>>,
    /// How it ended; absent when no answer was seen. What the protocol does not answer ends at once.
    pub outcome: Option<Outcome>,
    /// Whether the server asked, and the client answered, as with a message that is delivered.
    pub by_server: bool,
    /// What only messaging systems say.
    pub messaging: Option<Box<Messaging>>,
    /// Bytes of the request, protocol framing included.
    pub request_size: u64,
    /// Bytes of the answer, likewise.
    pub response_size: u64,
    /// Whether some of it is not in the record: lost, or over a limit.
    pub truncated: bool,
}

/// What an operation of a messaging system says beside what all operations do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messaging {
    /// What is done with messages.
    pub purpose: Option<Purpose>,
    /// The client's name for itself.
    pub client: Option<String>,
    /// The group that the consumer belongs to.
    pub group: Option<String>,
    /// AMQP: what an exchange chooses queues by.
    pub routing_key: Option<String>,
    /// AMQP: the channel.
    pub channel: Option<u16>,
    /// AMQP: the number of the delivery on its channel.
    pub delivery_tag: Option<u64>,
    /// MQTT: the quality of service.
    pub qos: Option<u8>,
    /// MQTT: what answers name the packet by.
    pub packet_id: Option<u16>,
    /// Kafka: the version of the API.
    pub version: Option<i16>,
    /// Bytes of the message itself.
    pub body_size: Option<u64>,
}

/// What is done with messages: OpenTelemetry's `messaging.operation.type`, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// They go to the server.
    Send,
    /// They come from the server.
    Receive,
}

/// The answer to an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The protocol's own code: an SQLSTATE, an error number, a reply code, a reason code.
    pub code: Option<String>,
    /// Its words: an error's message, a command tag, a status line.
    pub message: Option<String>,
    /// Whether it failed.
    pub failed: bool,
    /// Rows, documents or elements that came back.
    pub returned: Option<u64>,
    /// Rows or documents that were changed.
    pub affected: Option<u64>,
}

impl Operation {
    /// An operation of which nothing but this is known.
    pub const fn new(system: System, role: Role) -> Self {
        Self {
            system,
            role,
            duration_ns: None,
            name: None,
            namespace: None,
            target: None,
            text: None,
            parameters: Vec::new(),
            outcome: None,
            by_server: false,
            messaging: None,
            request_size: 0,
            response_size: 0,
            truncated: false,
        }
    }

    /// The direction of its first byte.
    pub(super) const fn begins(&self) -> Direction {
        let requests = self.requests();
        if self.request_size > 0 { requests } else { requests.opposite() }
    }

    /// The direction that the request goes in.
    pub const fn requests(&self) -> Direction {
        let requests = self.role.requests();
        if self.by_server { requests.opposite() } else { requests }
    }
}

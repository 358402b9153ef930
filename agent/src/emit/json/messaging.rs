//! What messaging systems are asked, by OpenTelemetry's names; what it has no name for is ours.

use serde::Serialize;

use super::operation::{Named, Response, Size};
use crate::decode::{self, Operation, Outcome, Purpose};

#[derive(Serialize)]
pub(super) struct Messaging<'a> {
    system: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<What<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Id<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<Consumer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Letter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mqtt: Option<Mqtt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amqp: Option<Amqp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rabbitmq: Option<Rabbitmq<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<Kafka>,
    request: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Serialize)]
struct What<'a> {
    name: &'a str,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
}

#[derive(Serialize)]
struct Id<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Consumer<'a> {
    group: Named<'a>,
}

/// The message itself.
#[derive(Serialize)]
struct Letter {
    body: Size,
}

#[derive(Serialize)]
struct Mqtt {
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packet_id: Option<u16>,
}

#[derive(Serialize)]
struct Amqp {
    channel: u16,
}

/// OpenTelemetry has AMQP 0-9-1 under the name of its best known server.
#[derive(Serialize)]
struct Rabbitmq<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Routed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Delivered>,
}

#[derive(Serialize)]
struct Routed<'a> {
    routing_key: &'a str,
}

#[derive(Serialize)]
struct Delivered {
    delivery_tag: u64,
}

#[derive(Serialize)]
struct Kafka {
    api_version: i16,
}

impl<'a> Messaging<'a> {
    pub(super) fn of(operation: &'a Operation) -> Self {
        let said = operation.messaging.as_deref();
        let name = operation.name.as_deref();
        let purpose = said.and_then(|said| said.purpose);
        let group = said.and_then(|said| said.group.as_deref());
        let size = said.and_then(|said| said.body_size);
        Self {
            system: operation.system.as_str(),
            operation: name.map(|name| What { name, purpose }),
            destination: operation.target.as_deref().map(|name| Named { name }),
            text: operation.text.as_deref(),
            client: said.and_then(|said| said.client.as_deref()).map(|id| Id { id }),
            consumer: group.map(|name| Consumer { group: Named { name } }),
            message: size.map(|size| Letter { body: Size { size } }),
            mqtt: said.and_then(Mqtt::of),
            amqp: said.and_then(|said| said.channel).map(|channel| Amqp { channel }),
            rabbitmq: said.and_then(Rabbitmq::of),
            kafka: said.and_then(|said| said.version).map(|api_version| Kafka { api_version }),
            request: Size { size: operation.request_size },
            response: Response::of(operation).filter(|_| is_answered(operation)),
            truncated: operation.truncated,
        }
    }
}

/// Whether there was an answer: some requests have none, and end as they are sent.
fn is_answered(operation: &Operation) -> bool {
    operation.response_size > 0 || operation.outcome != Some(Outcome::default())
}

impl Mqtt {
    fn of(said: &decode::Messaging) -> Option<Self> {
        let decode::Messaging { qos, packet_id, .. } = *said;
        (qos.is_some() || packet_id.is_some()).then_some(Self { qos, packet_id })
    }
}

impl<'a> Rabbitmq<'a> {
    fn of(said: &'a decode::Messaging) -> Option<Self> {
        let routing_key = said.routing_key.as_deref();
        let destination = routing_key.map(|routing_key| Routed { routing_key });
        let message = said.delivery_tag.map(|delivery_tag| Delivered { delivery_tag });
        (destination.is_some() || message.is_some()).then_some(Self { destination, message })
    }
}

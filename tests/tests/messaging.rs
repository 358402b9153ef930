//! Messaging systems of this machine over TLS: what a client prints is what is told, on both sides.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    database::Database,
    event::{expect, number, of_type, text},
    node::Node,
    tool,
};

crate::tests![
    mqtt_3_and_mosquitto,
    mqtt_5_and_mosquitto,
    mqtt_aliases_and_paho,
    amqp_and_pika,
    kafka_and_kafka_python
];

/// Runs a client until both sides have told what is wanted, and returns what it printed and all that
/// was told.
fn watched(
    node: &Node,
    client: Command,
    sides: &[&str],
    wanted: impl Fn(&[Value], &str) -> bool,
) -> Result<(String, Vec<Value>)> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let output = tool::run(client)?;
    agent.wait_for("all operations on each side", |events| {
        sides.iter().all(|kind| wanted(events, kind)).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let shown = events.iter().any(|event| event.to_string().contains("secret"));
    ensure!(!shown, "a password is shown");
    Ok((output, events))
}

/// The operations of a side with this name.
fn told<'a>(events: &'a [Value], system: &'a str, kind: &str, name: &str) -> Vec<&'a Value> {
    of_type(events, system)
        .filter(|event| text(event, "/kind") == Some(kind))
        .filter(|event| text(event, "/messaging/operation/name") == Some(name))
        .collect()
}

/// The one operation of which this is so.
fn only<'a>(found: &[&'a Value], wanted: impl Fn(&Value) -> bool) -> Result<&'a Value> {
    let found: Vec<_> = found.iter().filter(|event| wanted(event)).collect();
    ensure!(found.len() == 1, "{} instead of one: {found:?}", found.len());
    found.first().map(|event| **event).context("none")
}

/// Of a client of mosquitto, "Client cat sending PUBLISH (d0, q1, r0, m1, 'cats/1', ... (3 bytes))".
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Published {
    purpose: String,
    topic: String,
    qos: u64,
    packet: Option<u64>,
    size: u64,
}

fn printed(line: &str) -> Option<Published> {
    let (who, what) = line.split_once(" PUBLISH (")?;
    let purpose = if who.ends_with("sending") { "send" } else { "receive" };
    let fields: Vec<&str> = what.split(", ").collect();
    let [_, qos, _, packet, topic, size] = fields.as_slice() else { return None };
    let qos = qos.strip_prefix('q')?.parse().ok()?;
    Some(Published {
        purpose: purpose.to_owned(),
        topic: topic.trim_matches('\'').to_owned(),
        qos,
        packet: packet.strip_prefix('m')?.parse().ok().filter(|_| qos > 0),
        size: size.split(['(', ' ']).nth(2)?.parse().ok()?,
    })
}

fn published(event: &Value) -> Option<Published> {
    Some(Published {
        purpose: text(event, "/messaging/operation/type")?.to_owned(),
        topic: text(event, "/messaging/destination/name")?.to_owned(),
        qos: number(event, "/messaging/mqtt/qos")?,
        packet: number(event, "/messaging/mqtt/packet_id"),
        size: number(event, "/messaging/message/body/size")?,
    })
}

fn sorted(published: impl Iterator<Item = Option<Published>>) -> Result<Vec<Published>> {
    let mut all: Vec<_> = published.collect::<Option<_>>().context("a PUBLISH lacks something")?;
    all.sort();
    Ok(all)
}

/// Subscribes, publishes with every quality of service, once where that is forbidden, receives what
/// was published meanwhile, and connects with a wrong password.
const MOSQUITTO: &str = r#"
    at="-h 127.0.0.1 -p $0 --cafile $1 --insecure -d -V $2"
    kept=; if [ "$2" = mqttv5 ]; then kept="-x 60"; fi
    subscribe="mosquitto_sub $at -u joe -P secret -i sub -c $kept -q 2"
    $subscribe -t 'cats/#' -t dogs -E
    mosquitto_pub $at -u joe -P secret -i pub0 -t cats/0 -q 0 -m zero
    mosquitto_pub $at -u joe -P secret -i pub1 -t cats/1 -q 1 -m one
    mosquitto_pub $at -u joe -P secret -i pub2 -t cats/2 -q 2 -m second
    mosquitto_pub $at -u joe -P secret -i dog -t dogs -q 1 -m dog 2>&1
    $subscribe -t 'cats/#' -t dogs -C 3 -W 20
    mosquitto_pub $at -u joe -P secretly -i not -t cats/2 -m x 2>&1
    true
"#;

fn mosquitto(node: &Node, version: &str, shown: &str, denied: [&str; 3]) -> Result<()> {
    let [printed_denial, code, words] = denied;
    let server = Database::mosquitto()?;
    let mut client = tool::command("sh", ["-c", MOSQUITTO])?;
    client.arg(server.port.to_string()).arg(server.certificate()).arg(version);
    let (output, events) = watched(node, client, &["client", "server"], |events, kind| {
        let all = |name: &str, count| told(events, "mqtt", kind, name).len() >= count;
        all("PUBLISH", 7) && all("CONNECT", 7) && all("SUBSCRIBE", 2) && all("DISCONNECT", 6)
    })?;
    ensure!(output.contains(printed_denial), "the client did not print {printed_denial}: {output}");
    let expected = sorted(output.lines().filter_map(printed).map(Some))?;
    ensure!(expected.len() == 7, "the client printed {expected:?}: {output}");
    for kind in ["client", "server"] {
        let messages = told(&events, "mqtt", kind, "PUBLISH");
        let found = sorted(messages.iter().map(|event| published(event)))?;
        ensure!(found == expected, "told by the {kind}: {found:?}, printed: {expected:?}");
        for event in &messages {
            let quiet = number(event, "/messaging/mqtt/qos") == Some(0);
            let answered = event.pointer("/messaging/response").is_some();
            ensure!(answered != quiet, "{event}");
            ensure!(event.pointer("/duration_ns").is_some() != quiet, "{event}");
        }
        let connects = told(&events, "mqtt", kind, "CONNECT");
        let by = |name: &'static str| {
            move |event: &Value| text(event, "/messaging/client/id") == Some(name)
        };
        let line = format!("CONNECT version={shown} keepalive=60 client=pub1 user=present");
        expect(only(&connects, by("pub1"))?, &[("/messaging/text", json!(line))])?;
        expect(
            only(&connects, by("not"))?,
            &[("/error/type", json!(code)), ("/error/message", json!(words))],
        )?;
        let subscribed = told(&events, "mqtt", kind, "SUBSCRIBE");
        let first = subscribed.first().context("no SUBSCRIBE")?;
        expect(first, &[("/messaging/text", json!("SUBSCRIBE cats/# qos=2 dogs qos=2"))])?;
        if version == "mqttv5" {
            let dog = only(&messages, |event| {
                text(event, "/messaging/destination/name") == Some("dogs")
            })?;
            expect(dog, &[("/error/type", json!("0x87"))])?;
        }
    }
    Ok(())
}

fn mqtt_3_and_mosquitto(node: &Node) -> Result<()> {
    mosquitto(
        node,
        "mqttv311",
        "3.1.1",
        ["Connection Refused: not authorised", "0x05", "not authorized"],
    )
}

fn mqtt_5_and_mosquitto(node: &Node) -> Result<()> {
    let denied = ["Publish 1 failed: Not authorized", "0x87", "Not authorized"];
    mosquitto(node, "mqttv5", "5.0", denied)
}

/// Topics that only a number stands for.
fn mqtt_aliases_and_paho(node: &Node) -> Result<()> {
    let server = Database::mosquitto()?;
    let script = r#"
import sys
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
client = mqtt.Client("paho", protocol=mqtt.MQTTv5)
client.username_pw_set("joe", "secret")
client.tls_set(sys.argv[2])
client.tls_insecure_set(True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_start()
alias = Properties(PacketTypes.PUBLISH)
alias.TopicAlias = 3
for topic, payload in [("cats/long/name", "first"), ("", "second"), ("", "3")]:
    sent = client.publish(topic, payload, qos=1, properties=alias)
    sent.wait_for_publish()
    print("packet", sent.mid, "bytes", len(payload))
client.disconnect()
client.loop_stop()
"#;
    // Debian's package is of Debian's Python.
    let mut client = tool::command("/usr/bin/python3", ["-c", script])?;
    client.arg(server.port.to_string()).arg(server.certificate());
    let (output, events) = watched(node, client, &["client", "server"], |events, kind| {
        told(events, "mqtt", kind, "PUBLISH").len() == 3
    })?;
    for kind in ["client", "server"] {
        let lines = told(&events, "mqtt", kind, "PUBLISH").into_iter().map(|event| {
            let Published { topic, packet, size, .. } = published(event).context("incomplete")?;
            ensure!(topic == "cats/long/name", "{event}");
            Ok(format!("packet {} bytes {size}", packet.unwrap_or_default()))
        });
        let lines = lines.collect::<Result<Vec<_>>>()?.join("\n");
        ensure!(lines == output, "told by the {kind}: {lines}, printed: {output}");
    }
    Ok(())
}

/// The server's TLS is Erlang's own, so the client is what is seen.
fn amqp_and_pika(node: &Node) -> Result<()> {
    let server = Database::rabbitmq()?;
    let script = r#"
import ssl, sys
import pika
context = ssl.create_default_context(cafile=sys.argv[2])
context.check_hostname = False
def connect(password):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", int(sys.argv[1]), "/", pika.PlainCredentials("joe", password),
        ssl_options=pika.SSLOptions(context), connection_attempts=1))
line = connect("secret")
channel = line.channel()
channel.exchange_declare("logs", "topic")
queue = channel.queue_declare("", exclusive=True).method.queue
print("queue", queue)
channel.queue_bind(queue, "logs", "app.#")
for size in [0, 5, 200000]:
    channel.basic_publish("logs", "app.%d" % size, b"x" * size)
method, _, body = channel.basic_get(queue)
print("got", method.delivery_tag, method.routing_key, len(body))
for method, _, body in channel.consume(queue, inactivity_timeout=20):
    print("delivered", method.delivery_tag, method.routing_key, len(body))
    channel.basic_ack(method.delivery_tag)
    if len(body) > 5:
        break
channel.cancel()
print("empty", channel.basic_get(queue)[0] is None)
print("purged", channel.queue_purge(queue).method.message_count)
try:
    channel.queue_declare("missing", passive=True)
except pika.exceptions.ChannelClosedByBroker as error:
    print("closed", error.reply_code, error.reply_text)
channel = line.channel()
channel.basic_publish("nowhere", "k", b"lost")
try:
    channel.basic_qos(prefetch_count=1)
except pika.exceptions.ChannelClosedByBroker as error:
    print("closed", error.reply_code, error.reply_text)
line.close()
try:
    connect("secretly")
except pika.exceptions.AMQPError as error:
    print("refused", type(error).__name__)
"#;
    let mut client = tool::command("/usr/bin/python3", ["-c", script])?;
    client.arg(server.port.to_string()).arg(server.certificate());
    let (output, events) = watched(node, client, &["client"], |events, kind| {
        let starts = told(events, "amqp", kind, "connection.start-ok");
        starts.iter().any(|event| event.pointer("/error").is_some())
    })?;
    let line = |word: &str| output.lines().find_map(|line| line.strip_prefix(word));
    let queue = line("queue ").context("no queue was printed")?;
    let of = |name: &str| told(&events, "amqp", "client", name);
    let starts = of("connection.start-ok");
    let start = "connection.start-ok mechanism=PLAIN user=joe";
    ensure!(starts.len() == 2, "{starts:?}");
    ensure!(starts.iter().all(|event| text(event, "/messaging/text") == Some(start)), "{starts:?}");
    expect(
        only(&starts, |event| event.pointer("/error").is_some())?,
        &[("/error/type", json!("403"))],
    )?;
    let declared = of("queue.declare");
    only(&declared, |event| text(event, "/messaging/destination/name") == Some(queue))?;
    let bound = format!("queue.bind {queue} exchange=logs");
    only(&of("queue.bind"), |event| text(event, "/messaging/text") == Some(&bound))?;
    let sent: Vec<_> = of("basic.publish").into_iter().map(letter).collect();
    let expected = ["app.0 0", "app.5 5", "app.200000 200000", "k 4"];
    ensure!(sent == expected.map(str::to_owned), "{sent:?}");
    let mut seen = Vec::new();
    for (name, word) in [("basic.get", "got"), ("basic.deliver", "delivered")] {
        for event in of(name) {
            if let Some(tag) = number(event, "/messaging/rabbitmq/message/delivery_tag") {
                seen.push(format!("{word} {tag} {}", letter(event)));
            }
        }
    }
    let is_told = |line: &&str| line.starts_with("got") || line.starts_with("delivered");
    let printed: Vec<_> = output.lines().filter(is_told).collect();
    ensure!(seen == printed && printed.len() == 3, "told {seen:?}, printed {printed:?}");
    let empty = |event: &Value| number(event, "/messaging/response/returned_rows") == Some(0);
    only(&of("basic.get"), empty)?;
    let closed: Vec<_> =
        output.lines().filter_map(|line| line.strip_prefix("closed ")).map(str::to_owned).collect();
    let failed = events.iter().filter(|event| text(event, "/error/type") == Some("404"));
    let failed: Vec<_> = failed
        .map(|event| format!("404 {}", text(event, "/error/message").unwrap_or_default()))
        .collect();
    ensure!(failed == closed && closed.len() == 2, "told {failed:?}, printed {closed:?}");
    Ok(())
}

/// A routing key, and the size of what went by it.
fn letter(event: &Value) -> String {
    let key = text(event, "/messaging/rabbitmq/destination/routing_key").unwrap_or("?");
    let size = number(event, "/messaging/message/body/size");
    format!("{key} {}", size.map_or("?".to_owned(), |size| size.to_string()))
}

/// Produces, also to a topic that is not there, and without an acknowledgement, and fetches.
fn kafka_and_kafka_python(node: &Node) -> Result<()> {
    let server = Database::kafka()?;
    let script = r#"
import ssl, sys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
at = dict(bootstrap_servers="127.0.0.1:" + sys.argv[1], security_protocol="SSL", ssl_cafile=sys.argv[2],
          ssl_check_hostname=False)
producer = KafkaProducer(client_id="shop", acks=1, max_block_ms=2000, **at)
for number in range(3):
    sent = producer.send("orders", b"x" * (10 + number)).get(20)
    print("sent", sent.topic, sent.offset)
try:
    producer.send("missing", b"x").get(2)
except KafkaError as error:
    print("failed", type(error).__name__)
producer.close()
quiet = KafkaProducer(client_id="quiet", acks=0, **at)
quiet.send("logs", b"quiet").get(20)
quiet.close()
consumer = KafkaConsumer(client_id="reader", consumer_timeout_ms=3000, **at)
part = TopicPartition("orders", 0)
consumer.assign([part])
consumer.seek(part, 0)
got = 0
for record in consumer:
    print("got", record.topic, record.offset, len(record.value))
    got += 1
    if got == 3: break
consumer.close()
"#;
    let mut client = tool::command("/usr/bin/python3", ["-c", script])?;
    client.arg(server.port.to_string()).arg(server.certificate());
    let (output, events) = watched(node, client, &["client", "server"], |events, kind| {
        let all = |name: &str, count| told(events, "kafka", kind, name).len() >= count;
        all("Produce", 4) && all("Fetch", 1) && all("ApiVersions", 3)
    })?;
    let count = |line: &str| output.lines().filter(|other| other.starts_with(line)).count();
    ensure!(count("sent orders") == 3 && count("got orders") == 3, "printed {output}");
    ensure!(count("failed KafkaTimeoutError") == 1, "printed {output}");
    for kind in ["client", "server"] {
        let topic = |name: &'static str| {
            move |event: &&&Value| text(event, "/messaging/destination/name") == Some(name)
        };
        let of = |name: &str| told(&events, "kafka", kind, name);
        let produced = of("Produce");
        let sent: Vec<_> = produced.iter().filter(topic("orders")).collect();
        ensure!(sent.len() == 3, "{produced:?}");
        for event in sent {
            expect(
                event,
                &[
                    ("/messaging/client/id", json!("shop")),
                    ("/messaging/operation/type", json!("send")),
                    ("/messaging/kafka/api_version", json!(3)),
                ],
            )?;
            let answered = event.pointer("/messaging/response").is_some();
            ensure!(answered && event.pointer("/error").is_none(), "{event}");
            ensure!(event.pointer("/duration_ns").is_some(), "{event}");
        }
        let quiet = only(&produced, |event| topic("logs")(&&event))?;
        ensure!(quiet.pointer("/messaging/response").is_none(), "{quiet}");
        let (described, fetched) = (of("Metadata"), of("Fetch"));
        // A client asks for all of its topics at once.
        let missing = described.iter().filter(|event| {
            let names = text(event, "/messaging/text").unwrap_or_default();
            topic("missing")(event) || names.split(' ').any(|name| name == "missing")
        });
        let missing: Vec<_> = missing.collect();
        ensure!(!missing.is_empty(), "{described:?}");
        for event in missing {
            expect(
                event,
                &[
                    ("/error/type", json!("3")),
                    ("/error/message", json!("UNKNOWN_TOPIC_OR_PARTITION")),
                ],
            )?;
        }
        ensure!(fetched.iter().filter(topic("orders")).count() == fetched.len(), "{fetched:?}");
        for event in fetched {
            expect(event, &[("/messaging/client/id", json!("reader"))])?;
        }
    }
    Ok(())
}

//! What other systems than HTTP are asked.

use super::*;

#[test]
fn operations_by_the_kind_of_their_system() {
    let of = |part: &str, system: System, target: &str| {
        check(
            &sample::operation(system),
            false,
            &[
                ("/type", Some(json!(system.as_str()))),
                ("/kind", Some(json!("client"))),
                ("/duration_ns", Some(json!(2_000_000))),
                (&format!("/{part}/request/size"), Some(json!(40))),
                (&format!("/{part}/response/returned_rows"), Some(json!(3))),
                (&format!("/{part}/response/message"), Some(json!("SELECT 3"))),
                (target, (!target.ends_with("none")).then(|| json!("cats"))),
                ("/error", None),
            ],
        );
        check(
            &sample::failure(system),
            false,
            &[
                ("/kind", Some(json!("server"))),
                (&format!("/{part}/truncated"), Some(json!(true))),
                (&format!("/{part}/response/status_code"), Some(json!("42P01"))),
                (&format!("/{part}/response/message"), None),
                ("/error/type", Some(json!("42P01"))),
                ("/error/message", Some(json!("no table \u{1b}[31m"))),
            ],
        );
    };
    for system in [System::Postgresql, System::Mysql, System::Redis, System::Mongodb] {
        of("db", system, "/db/collection/name");
        let parameters = Some(json!({"0": "7", "1": null}));
        let namespace = Some(json!("shop"));
        let fields = [("/db/query/parameter", parameters), ("/db/namespace", namespace)];
        check(&sample::operation(system), false, &fields);
    }
    for system in [System::Kafka, System::Amqp, System::Mqtt] {
        of("messaging", system, "/messaging/destination/name");
    }
    for system in [System::Smtp, System::Imap] {
        of("mail", system, "/mail/none");
    }
}

#[test]
fn what_only_messages_have() {
    check(
        &sample::delivery(),
        false,
        &[
            ("/type", Some(json!("mqtt"))),
            ("/kind", Some(json!("client"))),
            (
                "/messaging",
                Some(json!({
                    "system": "mqtt",
                    "operation": {"name": "PUBLISH", "type": "receive"},
                    "destination": {"name": "cats/\u{1b}"},
                    "client": {"id": "c"},
                    "consumer": {"group": {"name": "g"}},
                    "message": {"body": {"size": 30}},
                    "mqtt": {"qos": 1, "packet_id": 3},
                    "amqp": {"channel": 1},
                    "rabbitmq": {
                        "destination": {"routing_key": "k\u{1b}"},
                        "message": {"delivery_tag": 2},
                    },
                    "kafka": {"api_version": 4},
                    "request": {"size": 40},
                })),
            ),
            ("/error", None),
        ],
    );
}

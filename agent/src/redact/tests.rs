use super::*;
use crate::{
    capture::{Call, Direction},
    decode::{
        Close, Grpc, Member, Messaging, Opcode, Operation, Request, Response, Role, System, Value,
        Version,
    },
};

const CALL: Call = Call { tid: 1, thread_name: [0; 16], library: 0, entered: 1, returned: 2 };
const KEY: ConnectionKey = ConnectionKey { pid: 1, object: 2, birth: 3 };

fn redacted(content: Content) -> Content {
    let mut message = Message { connection: KEY, call: CALL, content };
    Redactor::new(Redaction { patterns: vec![pattern("own-[0-9]+").unwrap()] })
        .redact(&mut message);
    message.content
}

fn body(text: &'static str) -> Body {
    Body { size: 9, bytes: Bytes::from_static(text.as_bytes()), truncated: false }
}

fn exchange(
    target: &str,
    fields: &[(&'static str, &'static [u8])],
    sent: &'static str,
) -> Exchange {
    let headers: Fields = fields.iter().copied().collect();
    let content = Content::Http(Box::new(Exchange {
        role: Role::Client,
        duration_ns: None,
        request: Some(Request {
            method: Some("GET".to_owned()),
            target: Some(target.to_owned()),
            version: Version::Http11,
            headers: headers.clone(),
            trailers: headers.clone(),
            body: body(sent),
        }),
        response: Some(Response {
            status: Some(200),
            version: Version::Http11,
            headers: headers.clone(),
            trailers: headers,
            body: body(sent),
        }),
        stream: None,
        error: None,
        grpc: None,
    }));
    match redacted(content) {
        Content::Http(exchange) => *exchange,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_secret_of_an_exchange_is_left() {
    let fields: [(&'static str, &'static [u8]); 8] = [
        ("authorization", b"Bearer hunter2"),
        ("proxy-authorization", b"hunter2"),
        ("cookie", b"sid=hunter2; b=hunter2"),
        ("set-cookie", b"sid=hunter2; Path=/"),
        ("x-api-key", b"hunter2"),
        ("x-amz-security-token", b"hunter2"),
        ("referer", b"https://u:hunter2@h/?access_token=hunter2"),
        ("x-mine", b"own-1234"),
    ];
    let sent = r#"{"a":[{"client_secret":"hunter2"}],"b":"own-12","refresh_token":"hunter2"#;
    let exchange = exchange("/a?sig=hunter2&b=own-1", &fields, sent);
    let shown = format!("{exchange:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("own-"), "{shown}");
    let request = exchange.request.unwrap();
    assert_eq!(request.target.as_deref(), Some("/a?sig=*******&b=*****"));
    let values: Vec<_> = request.headers.iter().map(|(_, value)| str::from_utf8(value)).collect();
    assert_eq!(
        values,
        [
            "Bearer *******",
            "*******",
            "sid=*******; b=*******",
            "sid=*******; Path=/",
            "*******",
            "*******",
            "https://u:*******@h/?access_token=*******",
            "********",
        ]
        .map(Ok)
    );
    assert_eq!(request.body.size, 9);
}

/// What was found without a secret is not looked at again: under another name, or longer, it is.
#[test]
fn fields_that_come_again_are_masked_again() {
    let mut redactor = Redactor::new(Redaction { patterns: vec![pattern("own-[0-9]+").unwrap()] });
    let sent: [(&str, &[u8]); 6] = [
        ("x-id", b"hunter2"),
        ("x-token", b"hunter2"),
        ("cookie", b"a=hunter2"),
        ("x-ids", b"hunter2"),
        ("x-id", b"hunter2 own-1"),
        ("host", b"secret:80"),
    ];
    for _ in 0..3 {
        let mut fields: Fields = sent.into_iter().collect();
        redactor.fields(&mut fields);
        let values: Vec<_> = fields.iter().map(|(_, value)| str::from_utf8(value)).collect();
        let expect = ["hunter2", "*******", "a=*******", "hunter2", "hunter2 *****", "secret:80"];
        assert_eq!(values, expect.map(Ok));
    }
}

#[test]
fn what_has_no_secret_is_not_copied() {
    let sent = r#"{"a":[1,2],"status":"ok"}"#;
    let fields: [(&'static str, &'static [u8]); 1] = [("content-type", b"application/json")];
    let exchange = exchange("/a?b=1", &fields, sent);
    let request = exchange.request.unwrap();
    assert_eq!(request.body.bytes.as_ptr(), sent.as_ptr());
    assert_eq!(
        (request.target.as_deref(), request.body.bytes),
        (Some("/a?b=1"), Bytes::from_static(sent.as_bytes()))
    );
}

fn operation(system: System, name: &str, text: &str, expect: &str) {
    let content = Content::Operation(Box::new(Operation {
        name: Some(name.to_owned()),
        text: Some(text.to_owned()),
        parameters: vec![Some("{\"token\":\"hunter2\"}".to_owned())],
        ..Operation::new(system, Role::Client)
    }));
    let Content::Operation(operation) = redacted(content) else { panic!("no operation") };
    assert_eq!(operation.text.as_deref(), Some(expect));
    assert!(!format!("{operation:?}").contains("hunter2"), "{operation:?}");
}

#[test]
fn no_secret_of_an_operation_is_left() {
    use System::{Imap, Mongodb, Mysql, Postgresql, Redis, Smtp};
    operation(Redis, "AUTH", "AUTH me hunter2", "AUTH **********");
    operation(Redis, "HELLO", "HELLO 3 AUTH me hunter2", "HELLO 3 ***************");
    operation(Redis, "ACL", "ACL SETUSER me on >hunter2", "ACL SETUSER **************");
    operation(Redis, "CONFIG", "config set requirepass hunter2", "config set *******************");
    operation(
        Redis,
        "SENTINEL",
        "SENTINEL set me auth-pass hunter2",
        "SENTINEL set me *****************",
    );
    operation(Redis, "GET", "GET auth", "GET auth");
    operation(Smtp, "AUTH", "AUTH PLAIN hunter2", "AUTH PLAIN *******");
    operation(Smtp, "AUTH", "hunter2", "*******");
    operation(Imap, "LOGIN", "a1 LOGIN me hunter2", "a1 LOGIN **********");
    operation(Mongodb, "saslStart", "{\"payload\":\"hunter2\"}", "*********************");
    operation(
        Postgresql,
        "ALTER",
        "ALTER USER a PASSWORD 'hunter2'",
        "ALTER USER a PASSWORD '*******'",
    );
    operation(
        Mysql,
        "CREATE",
        "create user a identified with x as 'it\\'s hunter2'",
        "create user a identified with x as '*************'",
    );
    operation(
        Mysql,
        "SET",
        "SET PASSWORD = PASSWORD('hunter2')",
        "SET PASSWORD = *******************",
    );
    operation(Postgresql, "SELECT", "SELECT 'a' FROM cats", "SELECT 'a' FROM cats");
}

#[test]
fn names_of_messages_are_masked_as_text_is() {
    let name = || Some("own-12".to_owned());
    let said =
        Messaging { client: name(), group: name(), routing_key: name(), ..Messaging::default() };
    let content = Content::Operation(Box::new(Operation {
        target: name(),
        messaging: Some(Box::new(said)),
        ..Operation::new(System::Amqp, Role::Client)
    }));
    let Content::Operation(operation) = redacted(content) else { panic!("no operation") };
    assert!(!format!("{operation:?}").contains("own-12"), "{operation:?}");
}

#[test]
fn raw_bytes_are_masked_across_records() {
    let mut redactor = Redactor::new(Redaction::default());
    let mut shown = Vec::new();
    for (offset, text) in
        [(0, "GET / HTTP/1.1\r\nAuthoriza"), (25, "tion: Basic hun"), (40, "ter2\r\nA: b\r\n")]
    {
        let bytes = Bytes::from_static(text.as_bytes());
        let content = Content::Data { direction: Direction::Transmit, offset, bytes };
        let mut message = Message { connection: KEY, call: CALL, content };
        redactor.redact(&mut message);
        let Content::Data { bytes, .. } = message.content else { panic!("no data") };
        shown.extend_from_slice(&bytes);
    }
    assert_eq!(shown, b"GET / HTTP/1.1\r\nAuthorization: Basic *******\r\nA: b\r\n");
    redactor.forget(KEY);
    assert!(redactor.streams.is_empty());
}

#[test]
fn members_of_protobuf_that_are_named_like_secrets() {
    let member =
        |name: &str, value| Member { name: name.to_owned(), repeated: false, values: vec![value] };
    let text = |text: &str| Value::Text(text.to_owned());
    let message = Value::Message(vec![
        member("name", text("tea for own-12")),
        member("user_password", text("hunter2")),
        member("api_key", Value::Message(vec![member("id", Value::Unsigned(7))])),
        member("access_token", Value::Bytes(Bytes::from_static(b"hunter2"))),
        member("link", text("https://h/?access_token=hunter2")),
    ]);
    let expect = Value::Message(vec![
        member("name", text("tea for ******")),
        member("user_password", text("*******")),
        member("api_key", Value::Message(vec![member("id", text("*"))])),
        member("access_token", Value::Bytes(Bytes::from_static(b"*******"))),
        member("link", text("https://h/?access_token=*******")),
    ]);
    let grpc = Grpc { sent: vec![message.clone()], received: vec![message], ..Grpc::default() };
    let mut exchange = exchange("/", &[], "");
    exchange.grpc = Some(Box::new(grpc));
    let Content::Http(exchange) = redacted(Content::Http(Box::new(exchange))) else {
        panic!("no exchange")
    };
    let grpc = exchange.grpc.unwrap();
    assert_eq!(grpc.sent, grpc.received);
    assert_eq!(grpc.received, [expect]);
}

#[test]
fn no_secret_of_a_websocket_message_is_left() {
    let reason = Some("token=hunter2 own-77".to_owned());
    let content = Content::WebSocket(Box::new(WebSocket {
        role: Role::Client,
        direction: Direction::Transmit,
        stream: None,
        opcode: Opcode::Text,
        frames: 1,
        compressed: false,
        body: body(r#"{"password":"hunter2","text":"own-42"}"#),
        unreadable: None,
        close: Some(Close { code: None, reason }),
    }));
    let Content::WebSocket(websocket) = redacted(content) else { panic!("another") };
    assert_eq!(websocket.body.bytes, r#"{"password":"*******","text":"******"}"#);
    let close = websocket.close.unwrap();
    assert_eq!(close.reason.as_deref(), Some("token=******* ******"));
}

#[test]
fn no_secret_of_an_event_is_left() {
    let Content::Http(exchange) = redacted(Content::Http(Box::new(exchange("/", &[], "")))) else {
        panic!("another")
    };
    let mut request = exchange.request.unwrap();
    request.target = Some("/?token=hunter2".to_owned());
    let content = Content::Event(Box::new(ServerEvent {
        role: Role::Client,
        request: Some(Arc::new(request)),
        stream: None,
        name: Some("own-1".to_owned()),
        id: Some("token=hunter2".to_owned()),
        body: body(r#"{"password":"hunter2"}"#),
    }));
    let Content::Event(event) = redacted(content) else { panic!("another") };
    assert_eq!(event.body.bytes, r#"{"password":"*******"}"#);
    assert_eq!(event.name.as_deref(), Some("*****"));
    assert_eq!(event.id.as_deref(), Some("token=*******"));
    assert_eq!(event.request.unwrap().target.as_deref(), Some("/?token=*******"));
}

//! Messages of the wire protocol as bytes in, operations out.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};

use super::json::Json;
use crate::decode::trial::{self, Event, Random, check, decode, operations, rx, tx};

/// A document of elements, each with its type and name in front.
fn document(elements: &[Vec<u8>]) -> Vec<u8> {
    let elements = elements.concat();
    let length = u32::try_from(elements.len() + 5).unwrap();
    [&length.to_le_bytes()[..], &elements, &[0]].concat()
}

fn element(kind: u8, name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [&[kind][..], name.as_bytes(), &[0], value.as_ref()].concat()
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let length = u32::try_from(value.len() + 1).unwrap();
    element(2, name, [&length.to_le_bytes()[..], value.as_bytes(), &[0]].concat())
}

fn int(name: &str, value: i32) -> Vec<u8> {
    element(0x10, name, value.to_le_bytes())
}

fn double(name: &str, value: f64) -> Vec<u8> {
    element(1, name, value.to_le_bytes())
}

fn array(name: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    element(4, name, document(elements))
}

fn nested(name: &str, elements: &[Vec<u8>]) -> Vec<u8> {
    element(3, name, document(elements))
}

fn ok() -> Vec<u8> {
    double("ok", 1.0)
}

fn packet(id: u32, answers: u32, opcode: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 16).unwrap();
    let header = [length, id, answers, opcode].map(u32::to_le_bytes);
    [header.as_flattened(), body].concat()
}

/// OP_MSG with these flags.
fn flagged(flags: u32, id: u32, answers: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    packet(id, answers, 2013, &body(flags, elements))
}

fn body(flags: u32, elements: &[Vec<u8>]) -> Vec<u8> {
    [&flags.to_le_bytes()[..], &[0], &document(elements)].concat()
}

fn ask(id: u32, elements: &[Vec<u8>]) -> Event {
    tx(flagged(0, id, 0, elements))
}

fn answer(to: u32, elements: &[Vec<u8>]) -> Event {
    rx(flagged(0, 1_000_000 + to, to, elements))
}

fn find(id: u32) -> Event {
    let filter = nested("filter", &[int("a", 7)]);
    ask(id, &[text("find", "cats"), filter, text("$db", "shop"), nested("lsid", &[])])
}

const FOUND: &str = "find in shop of cats [{\"find\":\"cats\",\"filter\":{\"a\":7}}]";

fn cursor(batch: &str, count: usize) -> Vec<u8> {
    let documents: Vec<_> = (0..count).map(|n| nested(&n.to_string(), &[int("a", 7)])).collect();
    nested("cursor", &[array(batch, &documents), element(0x12, "id", [0; 8])])
}

#[test]
fn commands_and_answers() {
    let failed = [double("ok", 0.0), text("errmsg", "no such command: 'x'"), int("code", 59)];
    let failed = [&failed[..], &[text("codeName", "CommandNotFound")]].concat();
    let errors = [nested("0", &[int("index", 0), int("code", 11000), text("errmsg", "dup")])];
    let update = nested("0", &[nested("q", &[]), nested("u", &[])]);
    check(
        &[
            find(1),
            answer(1, &[cursor("firstBatch", 2), ok()]),
            ask(2, &[element(0x12, "getMore", [1; 8]), text("collection", "cats")]),
            answer(2, &[cursor("nextBatch", 0), ok()]),
            ask(3, &[int("x", 1), text("$db", "admin")]),
            answer(3, &failed),
            ask(4, &[text("insert", "cats"), array("documents", &[nested("0", &[int("a", 1)])])]),
            answer(4, &[int("n", 0), array("writeErrors", &errors), ok()]),
            ask(5, &[text("update", "cats"), array("updates", &[update])]),
            answer(5, &[int("n", 3), int("nModified", 2), array("upserted", &[int("0", 1)]), ok()]),
            ask(6, &[text("distinct", "cats"), text("key", "a")]),
            answer(6, &[array("values", &[int("0", 1), int("1", 2)]), ok()]),
            ask(7, &[text("delete", "cats")]),
            answer(7, &[int("n", 4), nested("writeConcernError", &[int("code", 64)]), ok()]),
            ask(8, &[text("find", "cats")]),
        ],
        &[
            &format!("{FOUND} () 2 returned"),
            "getMore of cats [{\"getMore\":72340172838076673,\"collection\":\"cats\"}] () 0 returned",
            "x in admin [{\"x\":1}] !59((CommandNotFound) no such command: 'x')",
            "insert of cats [{\"insert\":\"cats\",\"documents\":[{\"a\":\"int\"}]}] !11000(dup) 0 affected",
            "update of cats [{\"update\":\"cats\",\"updates\":[{\"q\":{},\"u\":{}}]}] () 3 affected",
            "distinct of cats [{\"distinct\":\"cats\",\"key\":\"a\"}] () 2 returned",
            "delete of cats [{\"delete\":\"cats\"}] !64() 4 affected",
            "find of cats [{\"find\":\"cats\"}] -",
        ],
    );
}

fn sequence(name: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    let rest = [name.as_bytes(), &[0], &documents.concat()].concat();
    let length = u32::try_from(rest.len() + 4).unwrap();
    [&[1][..], &length.to_le_bytes(), &rest].concat()
}

#[test]
fn sections_and_flags() {
    let documents = [document(&[int("_id", 1), text("name", "own")]), document(&[]), document(&[])];
    let sections = sequence("documents", &documents);
    let command = body(1, &[text("insert", "cats"), text("$db", "shop")]);
    let checksum = [0, 1, 2, 3];
    let insert = packet(1, 0, 2013, &[&command[..], &sections, &checksum].concat());
    let deletes = sequence("deletes", &[document(&[nested("q", &[]), int("limit", 1)])]);
    let delete = [&body(2, &[text("delete", "cats")])[..], &deletes].concat();
    let hello = [int("hello", 1), text("$db", "admin")];
    check(
        &[
            tx(insert),
            answer(1, &[int("n", 3), ok()]),
            // Not answered.
            tx(packet(2, 0, 2013, &delete)),
            tx(flagged(1 << 16, 3, 0, &hello)),
            rx(flagged(2, 90, 3, &[ok()])),
            rx(flagged(2, 91, 90, &[ok()])),
            rx(flagged(0, 92, 91, &[double("ok", 0.0), int("code", 91)])),
            find(4),
            answer(4, &[cursor("firstBatch", 1), ok()]),
        ],
        &[
            "insert in shop of cats [{\"insert\":\"cats\",\
             \"documents\":[{\"_id\":\"int\",\"name\":\"string\"},\"2 more\"]}] () 3 affected",
            "delete of cats [{\"delete\":\"cats\",\"deletes\":[{\"q\":{},\"limit\":1}]}] -",
            "hello in admin [{\"hello\":1}] ()",
            "hello in admin ()",
            "hello in admin !91()",
            &format!("{FOUND} () 1 returned"),
        ],
    );
}

fn compressed(id: u32, answers: u32, compressor: u8, body: &[u8]) -> Vec<u8> {
    let bytes = match compressor {
        1 => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        2 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        3 => zstd::encode_all(body, 3).unwrap(),
        _ => body.to_vec(),
    };
    let head = [2013, u32::try_from(body.len()).unwrap()].map(u32::to_le_bytes);
    packet(id, answers, 2012, &[head.as_flattened(), &[compressor], &bytes].concat())
}

#[test]
fn compressed_messages() {
    let command = body(0, &[text("find", "cats"), text("comment", &"x".repeat(200))]);
    let reply = body(0, &[cursor("firstBatch", 30), ok()]);
    for compressor in 0..4 {
        check(
            &[tx(compressed(1, 0, compressor, &command)), rx(compressed(2, 1, compressor, &reply))],
            &[&format!(
                "find of cats [{{\"find\":\"cats\",\"comment\":\"{}\"}}] () 30 returned",
                "x".repeat(200)
            )],
        );
    }
}

/// What says that it is far larger than it may be is not unpacked.
#[test]
fn bombs() {
    let zeros = vec![0; 40 << 20];
    for compressor in 1..4 {
        let reply = [&body(0, &[ok()])[..], &zeros].concat();
        let told = decode(&[find(1), rx(compressed(2, 1, compressor, &reply))]);
        let told = operations(&told);
        assert!(told[0].truncated, "{told:?}");
    }
    let half = [&body(0, &[ok()])[..2], &[0; 100]].concat();
    let mut broken = compressed(1, 0, 1, &half);
    broken[20] = 0xff;
    assert!(operations(&decode(&[tx(broken)])).is_empty());
}

#[test]
fn what_is_older() {
    let query = |id, name: &str, elements: &[Vec<u8>]| {
        let body = [&[4, 0, 0, 0], name.as_bytes(), &[0; 5], &[0xff; 4], &document(elements)];
        tx(packet(id, 0, 2004, &body.concat()))
    };
    let reply =
        [&[8][..], &[0; 15], &[1, 0, 0, 0], &document(&[int("ismaster", 1), ok()])].concat();
    let auth = nested("speculativeAuthenticate", &[text("payload", "secret")]);
    let insert = [&[0; 4], &b"shop.cats\0"[..], &document(&[])].concat();
    check(
        &[
            query(1, "admin.$cmd", &[int("ismaster", 1), auth]),
            rx(packet(2, 1, 1, &reply)),
            query(3, "shop.cats", &[int("a", 1)]),
            rx(packet(4, 3, 1, &reply)),
            tx(packet(5, 0, 2002, &insert)),
        ],
        &[
            "ismaster in admin [{\"ismaster\":1}] ()",
            "OP_QUERY in shop of cats [{\"a\":1}] ()",
            "OP_INSERT in shop of cats -",
        ],
    );
}

/// "Command Logging and Monitoring", "Security".
#[test]
fn commands_that_authenticate() {
    let secret = element(5, "payload", b"\x06\0\0\0\0secret");
    for name in ["saslStart", "saslContinue", "authenticate", "createUser", "updateUser"] {
        let start = [text(name, "own"), text("mechanism", "SCRAM"), text("pwd", "secret")];
        let start = [&start[..], &[secret.clone(), text("key", "secret")]].concat();
        check(
            &[ask(1, &start), answer(1, &[element(5, "payload", b"\x01\0\0\0\0s"), ok()])],
            &[&format!("{name} [{{\"{name}\":\"own\",\"mechanism\":\"SCRAM\"}}] ()")],
        );
    }
}

/// Joined behind a request, and lost bytes: the answer's number tells what it belongs to.
#[test]
fn answers_are_paired_by_number() {
    check(
        &[
            rx(flagged(0, 7, 3, &[ok()])),
            find(1),
            find(2),
            answer(2, &[cursor("firstBatch", 2), ok()]),
            answer(9, &[ok()]),
            answer(1, &[cursor("firstBatch", 1), ok()]),
        ],
        &[&format!("{FOUND} () 2 returned"), &format!("{FOUND} () 1 returned")],
    );
}

/// Every type, encoded by another implementation, with the text that it makes of them.
#[test]
fn every_type_of_value() {
    const BSON: &str = "15010000016400000000000000f83f0165000000000000000040027300050000006122620a00036f000c00\
        0000107800010000000004610018000000103000010000000a3100023200020000007a000005620003000000000102\
        03076964000123456789abcdef0123456708740001086600000977007bf1b60ea20100000a6e000b72005e610069000d\
        630004000000662829000f6373001800000004000000672829000c0000001079000200000000106900f9ffffff1174\
        73000600000005000000126c0000000000000100001364656300e2040000000000000000000000003cb0ff6d696e00\
        7f6d617800016e616e00000000000000f87f01696e6600000000000000f0ff096f6c64000034a183b6ffffff00";
    const TEXT: &str = r#"{"d":1.5,"e":2.0,"s":"a\"b\n","o":{"x":1},"a":[1,null,"z"],"b":{"$binary":{"base64":"AQID","subType":"00"}},"id":{"$oid":"0123456789abcdef01234567"},"t":true,"f":false,"w":{"$date":"2026-11-24T18:00:00.123Z"},"n":null,"r":{"$regularExpression":{"pattern":"^a","options":"i"}},"c":{"$code":"f()"},"cs":{"$code":"g()","$scope":{"y":2}},"i":-7,"ts":{"$timestamp":{"t":5,"i":6}},"l":1099511627776,"dec":{"$numberDecimal":"-12.50"},"min":{"$minKey":1},"max":{"$maxKey":1},"nan":{"$numberDouble":"NaN"},"inf":{"$numberDouble":"-Infinity"},"old":{"$date":{"$numberLong":"-315619200000"}}}"#;
    let digit = |at: usize| BSON.get(at..at + 2).unwrap();
    let bytes = (0..BSON.len()).step_by(2).map(|at| u8::from_str_radix(digit(at), 16).unwrap());
    let bytes: Vec<u8> = bytes.collect();
    let mut json = Json::default();
    json.document(&bytes);
    assert_eq!((json.text.as_str(), json.cut), (TEXT, false));
    for end in 0..bytes.len() {
        let mut json = Json::default();
        json.document(&bytes[..end]);
        assert!(json.cut, "{end}");
        let text: serde_json::Value = serde_json::from_str(&json.text).unwrap();
        assert!(text.is_object());
    }
}

#[test]
fn documents_that_are_deep_or_long() {
    let mut deep = document(&[]);
    for _ in 0..500 {
        deep = document(&[element(3, "a", deep)]);
    }
    let long = document(&[text("a", &"\0".repeat(100_000)), text("b", "c")]);
    for document in [deep, long] {
        let mut json = Json::default();
        json.document(&document);
        assert!(json.cut && json.text.len() < 200_000, "{}", json.text.len());
    }
}

/// Every command carries its number, and so does its answer: an error with it, or so many documents.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..count {
        let id = u32::try_from(number + 1).unwrap();
        let elements = [text("find", &format!("n{number}")), text("$db", &"x".repeat(number % 30))];
        let failed = [double("ok", 0.0), text("errmsg", &format!("n{number}")), int("code", 7)];
        let reply = match random.below(3) {
            0 => failed.to_vec(),
            _ => vec![cursor("firstBatch", number % 7), ok(), text("note", &format!("n{number}"))],
        };
        let compressor = [0, 0, 0, 1, 2, 3][number % 6];
        if compressor > 0 {
            events.push(tx(compressed(id, 0, compressor, &body(0, &elements))));
            events.push(rx(compressed(id, id, compressor, &body(0, &reply))));
        } else {
            events.push(ask(id, &elements));
            events.push(answer(id, &reply));
        }
    }
    events
}

trial::tests!(conversation, 7000);

#[test]
fn other_protocols_are_not_claimed() {
    for bytes in
        ["GET / HTTP/1.1\r\n", "*1\r\n$4\r\nPING\r\n", "\x30\0\0\0abcdefghijklmnopqrstuvwxyz"]
    {
        let told = decode(&[tx(bytes), rx(flagged(0, 2, 1, &[ok()]))]);
        assert!(operations(&told).iter().all(|told| told.system.as_str() != "mongodb"), "{bytes}");
    }
}

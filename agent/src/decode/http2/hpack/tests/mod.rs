//! Blocks of the RFC, and those of an encoder, from the beginning and joined late.

mod stories;

use super::*;

pub(in crate::decode::http2) fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// `name: value` for each field; `?` for what is unknown.
fn show(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Malformed> {
    let text = |text: Option<&[u8]>| {
        text.map_or("?".into(), |text| String::from_utf8_lossy(text).into_owned())
    };
    let mut shown = Vec::new();
    decoder.decode(block, |(name, value)| {
        shown.push(format!("{}: {}", text(name), text(value)));
    })?;
    Ok(shown)
}

#[track_caller]
fn check(decoder: &mut Decoder, block: &str, expect: &[&str]) {
    assert_eq!(show(decoder, &hex(block)).unwrap(), expect, "{block}");
}

const FIRST: [&str; 4] =
    [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];

/// RFC 7541, appendix C.3 and C.4.
#[test]
fn requests_of_the_rfc() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let coded = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::initial();
        check(&mut decoder, blocks[0], &FIRST);
        check(&mut decoder, blocks[1], &[&FIRST[..], &["cache-control: no-cache"]].concat());
        let third = [
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ];
        check(&mut decoder, blocks[2], &third);
        // Joined behind the first: only what refers to it is unknown.
        let mut decoder = Decoder::joined();
        let known =
            [":method: GET", ":scheme: http", ":path: /", "?: ?", "cache-control: no-cache"];
        check(&mut decoder, blocks[1], &known);
        check(&mut decoder, "be", &["cache-control: no-cache"]);
    }
}

/// RFC 7541, appendix C.6: a table of 256 bytes, so that entries are evicted.
#[test]
fn responses_of_the_rfc() {
    let mut decoder = Decoder::initial();
    decoder.table.resize(256);
    let first = [
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    check(
        &mut decoder,
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        &first,
    );
    check(&mut decoder, "4883640effc1c0bf", &[":status: 307", first[1], first[2], first[3]]);
    check(
        &mut decoder,
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        &[
            ":status: 200",
            first[1],
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            first[3],
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ],
    );
    assert_eq!(decoder.table.find(4), Found::Nothing);
}

#[test]
fn names_of_the_past_are_unknown_and_their_values_known() {
    let mut decoder = Decoder::joined();
    // Incremental indexing, the name by index 62.
    check(&mut decoder, "7e0161", &["?: a"]);
    check(&mut decoder, "be", &["?: a"]);
    check(&mut decoder, "bf", &["?: ?"]);
    // Without indexing.
    check(&mut decoder, "0f300162", &["?: b"]);
}

/// After an update to 0 there is no past: what refers to it is malformed.
#[test]
fn an_empty_table_is_known() {
    let mut decoder = Decoder::joined();
    check(&mut decoder, "be", &["?: ?"]);
    check(&mut decoder, "203fe11f 400161 0162", &["a: b"]);
    check(&mut decoder, "be", &["a: b"]);
    assert_eq!(show(&mut decoder, &hex("bf")), Err(Malformed));
}

/// Where the known entries fill the table, nothing older is left in it.
#[test]
fn a_full_table_has_no_past() {
    let mut decoder = Decoder::joined();
    // 67 bytes: room for two entries of 33 and 34, not for a third.
    check(&mut decoder, "3f24 400161 00", &["a: "]);
    check(&mut decoder, "bf", &["?: ?"]);
    check(&mut decoder, "400162 0163", &["b: c"]);
    check(&mut decoder, "bebf", &["b: c", "a: "]);
    assert_eq!(show(&mut decoder, &hex("c0")), Err(Malformed));
}

#[test]
fn an_entry_that_does_not_fit_empties_the_table() {
    let mut decoder = Decoder::initial();
    check(&mut decoder, "3f02 400161 00", &["a: "]);
    check(&mut decoder, "be", &["a: "]);
    check(&mut decoder, "400162 0163", &["b: c"]);
    assert_eq!(show(&mut decoder, &hex("be")), Err(Malformed));
}

#[test]
fn what_is_not_hpack_is_refused() {
    for block in [
        "80",                 // index 0
        "be",                 // nothing there
        "ff",                 // no end
        "ffffffffff7f",       // more than 32 bits
        "ff8080808080808001", // more than 32 bits of length
        "40",
        "400161",
        "4001610563",
        "4081ff00",
        "3f",
    ] {
        assert_eq!(show(&mut Decoder::initial(), &hex(block)), Err(Malformed), "{block}");
    }
}

/// A byte for 4 kB, again and again: what is kept has a limit.
#[test]
fn a_bomb_is_bounded() {
    let mut decoder = Decoder::initial();
    let mut block = hex("400161 7fa11e");
    block.extend(vec![b'x'; 4000]);
    block.extend(vec![0xbe; 200_000]);
    let mut list = List::new();
    decoder.decode(&block, |field| list.push(field)).unwrap();
    let fields = list.fields();
    let kept: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept > list::LIMIT / 2 && kept <= list::LIMIT, "{kept}");
    assert_eq!(fields.len() + usize::try_from(fields.unknown()).unwrap(), 200_001);
}

/// What the peers have and is too much to be kept is unknown, not absent.
#[test]
fn a_huge_table_is_kept_in_part() {
    let mut decoder = Decoder::initial();
    let mut block = hex("3fe1ffff07");
    for number in 0..2000_u32 {
        block.extend(hex("400a"));
        block.extend(format!("name{number:06}").bytes());
        block.extend(hex("00"));
    }
    show(&mut decoder, &block).unwrap();
    check(&mut decoder, "be", &["name001999: "]);
    check(&mut decoder, "ff810e", &["?: ?"]);
    assert!(decoder.weight() < 300_000, "{}", decoder.weight());
}

#[test]
fn leads() {
    let check = |first: u8, expect| assert_eq!(Lead::of(first), expect, "{first:#x}");
    check(0x82, Lead::Request);
    check(0x44, Lead::Request);
    check(0x04, Lead::Request);
    check(0x88, Lead::Response);
    check(0x48, Lead::Response);
    check(0x20, Lead::Other);
    check(0xbe, Lead::Other);
    check(0x40, Lead::Other);
    check(0x80, Lead::Malformed);
}

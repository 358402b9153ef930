use super::*;

fn masked(scanner: &mut Scanner, text: &[u8]) -> String {
    let mut bytes = text.to_vec();
    for range in scanner.scan(text) {
        bytes[range].fill(b'*');
    }
    String::from_utf8(bytes).unwrap()
}

fn check(text: &str, expect: &str) {
    assert_eq!(masked(&mut Scanner::default(), text.as_bytes()), expect, "{text}");
}

#[test]
fn queries_and_forms() {
    check("/a?b=1&token=abc&c=2", "/a?b=1&token=***&c=2");
    check("user%5Bpass%77ord%5D=abc&x", "user%5Bpass%77ord%5D=***&x");
    check("/cb?code=abc&state=1 HTTP/1.1", "/cb?code=***&state=1 HTTP/1.1");
    let mut form = Scanner::new(true);
    assert_eq!(masked(&mut form, b"password=\"a b, c&d=\"e"), "password=*******&d=\"e");
}

#[test]
fn json() {
    check(r#"{"password" : "a\"b", "n":1}"#, r#"{"password" : "****", "n":1}"#);
    check("{\"password\"\n:\n\"abc\"}", "{\"password\"\n:\n\"***\"}");
    check(r#"{"token":123,"a":"b"}"#, r#"{"token":***,"a":"b"}"#);
    check(r#"{"secret":["a",{"b":"c]"}],"d":"e"}"#, r#"{"secret":["*",{"*":"**"}],"d":"e"}"#);
    check(r#"{\"password\":\"ab\",\"c\":1}"#, r#"{\"password\":\"**\",\"c\":1}"#);
    check(r#"{"a":{"client_secret":"ab"#, r#"{"a":{"client_secret":"**"#);
    check(r#"{"code":404,"key":"a"}"#, r#"{"code":404,"key":"a"}"#);
}

#[test]
fn header_lines() {
    check("Authorization: Bearer abc\r\nHost: a\r\n", "Authorization: Bearer ***\r\nHost: a\r\n");
    check("authorization: abc def\r\n", "authorization: *******\r\n");
    check("Cookie: a=bc; d=e=f\r\nX: y", "Cookie: a=**; d=***\r\nX: y");
    check("Set-Cookie: a=bc; Path=/\r\n", "Set-Cookie: a=**; Path=/\r\n");
    check("Cookie: abc\r\n", "Cookie: ***\r\n");
    check("X-Api-Key: abc\r\n\r\n", "X-Api-Key: ***\r\n\r\n");
}

#[test]
fn parts_of_multipart_forms() {
    check(
        "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nab\r\n--b\r\nX: y",
        "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n**\r\n--b\r\nX: y",
    );
    let other = "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nab\r\n--b--";
    check(other, other);
}

#[test]
fn passwords_in_urls_and_sql() {
    check("see https://me:abc@host/x?y", "see https://me:***@host/x?y");
    check("https://host:80/x@y", "https://host:80/x@y");
    check("ALTER USER a PASSWORD 'bc'", "ALTER USER a PASSWORD '**'");
    check("CREATE USER a IDENTIFIED BY 'bc'", "CREATE USER a IDENTIFIED BY '**'");
}

/// What is split is found as what is whole, but for what is looked ahead for, which is masked.
#[test]
fn values_that_are_split() {
    let all = "GET /?token=abcdef HTTP/1.1\r\nX-Api-Key: abcdef\r\nCookie: n=abcdef\r\n\
        Authorization: Bearer abcdef\r\n\r\n{\"password\":\"abc\\\"def\",\"x\":[\"secret\"]}\r\n\
        Content-Disposition: form-data; name=\"token\"\r\n\r\nabcdef\r\n--b";
    for at in 0..all.len() {
        let (one, two) = all.as_bytes().split_at(at);
        let mut scanner = Scanner::default();
        let shown = masked(&mut scanner, one) + &masked(&mut scanner, two);
        assert!(!shown.contains("abc") && !shown.contains("def"), "{at}: {shown}");
        assert!(shown.contains("\"x\":[\"secret\"]"), "{at}: {shown}");
    }
}

#[test]
fn anything_ends() {
    let mut seed = 1_u64;
    let alphabet = b"\"'\\:=&{}[],;@/ \r\n-%password token name cookie authorization://";
    for _ in 0..2000 {
        let text: Vec<u8> = (0..80)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                alphabet[(seed >> 33) as usize % alphabet.len()]
            })
            .collect();
        for range in Scanner::default().scan(&text) {
            assert!(range.start < range.end && range.end <= text.len());
        }
    }
}

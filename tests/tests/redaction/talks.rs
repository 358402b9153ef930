//! Secrets in what the fixture says: exactly these bytes.

use super::Said;

/// What every sink must mask.
pub(super) fn anywhere() -> Said {
    let mut said = Said::default();
    said.http(
        "application/json",
        r#"{"user":"joe","password":"@@","deep":[{"client_secret":"@@"}]}"#,
        r#"{"access_token":"@@","refresh_token":["@@"],"note":"{\"apiKey\":\"@@\"}"}"#,
    );
    said.http("application/x-www-form-urlencoded", "user=joe&pwd=@@&code=@@", r#"{"jwt":"@@"}"#);
    said.http(
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n@@\r\n--b--\r\n",
        "[]",
    );
    said.sql();
    said
}

impl Said {
    fn http(&mut self, kind: &str, request_body: &str, response_body: &str) {
        let sent = self.fill(request_body);
        let head = self.fill(
            "POST /a?api_key=@@&password=@@&x=1 HTTP/1.1\r\nHost: talk\r\n\
             Authorization: Bearer @@\r\nProxy-Authorization: Basic @@\r\nCookie: sid=@@; b=@@\r\n\
             X-Api-Key: @@\r\nX-Auth-Token: @@\r\nReferer: https://joe:@@@talk/?access_token=@@\r\n",
        );
        let length = sent.len();
        let request =
            format!("{head}Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{sent}");
        let sent = self.fill(response_body);
        let head = self.fill(
            "HTTP/1.1 200 OK\r\nSet-Cookie: sid=@@; Path=/\r\nX-Session-Token: @@\r\n\
             Location: https://joe:@@@talk/?token=@@\r\nContent-Type: application/json\r\n",
        );
        self.talk(request, format!("{head}Content-Length: {}\r\n\r\n{sent}", sent.len()));
    }

    fn sql(&mut self) {
        let sql = self.fill("alter user joe password '@@'\0");
        let length = u8::try_from(sql.len() + 4).unwrap_or(u8::MAX);
        let answer = b"C\0\0\0\x0fALTER ROLE\0Z\0\0\0\x05I";
        self.talk([&[b'Q', 0, 0, 0, length], sql.as_bytes()].concat(), answer);
        let sql = self.fill("\x03insert into t (name, password) values ('joe', '@@')");
        let length = u8::try_from(sql.len()).unwrap_or(u8::MAX);
        let answer = b"\x07\0\0\x01\0\0\0\x02\0\0\0";
        self.talk([&[length, 0, 0, 0], sql.as_bytes()].concat(), answer);
    }

    pub(super) fn redis(&mut self) {
        let commands = [
            &["AUTH", "joe", "@@"][..],
            &["HELLO", "2", "AUTH", "joe", "@@"],
            &["CONFIG", "SET", "requirepass", "@@"],
            &["ACL", "SETUSER", "joe", "on", ">@@"],
            &["MIGRATE", "a", "1", "k", "0", "9", "AUTH", "@@"],
        ];
        let commands = commands.map(|words| {
            words.iter().fold(format!("*{}\r\n", words.len()), |all, word| {
                let word = self.fill(word);
                format!("{all}${}\r\n{word}\r\n", word.len())
            })
        });
        self.talk(commands.concat(), "+OK\r\n".repeat(5));
    }

    /// What is not decoded, or shown in undecoded plaintext alone.
    pub(super) fn undecoded(&mut self) {
        self.redis();
        let line = self.fill("EHLO a\r\nAUTH PLAIN @@\r\n");
        self.talk(line, "250 a\r\n235 ok\r\n");
        let line = self.fill("a CAPABILITY\r\nb LOGIN joe @@\r\nc AUTHENTICATE XOAUTH2 @@\r\n");
        self.talk(line, "a OK\r\nb OK\r\nc OK\r\n");
        let connect = self.fill("\0\x04MQTT\x04\u{42}\0\x3c\0\x02me\0\x10@@");
        let length = u8::try_from(connect.len()).unwrap_or(u8::MAX);
        self.talk([&[0x10, length], connect.as_bytes()].concat(), b"\x20\x02\0\0");
        let start = self.fill("\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x10@@\x05en_US");
        let size = u8::try_from(start.len()).unwrap_or(u8::MAX);
        let frame = [b"AMQP\0\0\x09\x01\x01\0\0\0\0\0", &[size][..], start.as_bytes(), b"\xce"];
        self.talk(frame.concat(), b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce");
        let sasl = self.fill("\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me\0\0\0\x20\0\x24\0\x01\0\0\0\x02\0\x02me\0\0\0\x10@@");
        self.talk(sasl, b"\0\0\0\x04\0\0\0\x01");
        let member = self.fill("\x10saslStart\0\x01\0\0\0\x02pwd\0\x11\0\0\0@@\0\0");
        let document = u8::try_from(member.len() + 4).unwrap_or(u8::MAX);
        let message = [
            &[document + 21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xdd, 7, 0, 0, 0, 0, 0, 0, 0][..],
            &[document, 0, 0, 0],
            member.as_bytes(),
        ];
        self.talk(message.concat(), b"\x10\0\0\0\x02\0\0\0\x01\0\0\0\xdd\x07\0\0");
    }
}

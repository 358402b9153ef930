//! Mail, MQTT, AMQP, Kafka.

use super::*;

#[test]
fn mail_passwords() {
    Said::default()
        .server(&[b"220 mail ESMTP\r\n"])
        .client(&[b"EHLO a\r\n"])
        .server(&[b"250-mail\r\n250 AUTH PLAIN LOGIN\r\n"])
        .client(&[b"AUTH ", b"?LOGIN?", b"\r\n"])
        .server(&[b"334 VXNlcm5hbWU6\r\n"])
        .client(&[b"<am9l>", b"\r\n"])
        .server(&[b"334 UGFzc3dvcmQ6\r\n"])
        .client(&[b"<aHVudGVyMg==>", b"\r\n"])
        .server(&[b"235 ok\r\n"])
        .client(&[b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"])
        .server(&[b"354 go\r\n"])
        .client(&[b"Subject: x\r\n\r\nAUTH is a word.\r\n.\r\nQUIT\r\n"])
        .check();
    Said::default()
        .client(&[b"EHLO a\r\n"])
        .client(&[b"AUTH ", b"?PLAIN ?", b"<AGpvZQBodW50ZXIy>", b"\r\n"])
        .server(&[b"235 ok\r\n"])
        .client(&[b"MAIL FROM:<a@b>\r\n"])
        .check();
    Said::default()
        .server(&[b"* OK ready\r\n"])
        .client(&[b"a1 LOGIN ", b"<joe hunter2>", b"\r\n"])
        .server(&[b"a1 OK\r\n"])
        .client(&[b"a2 LOGIN ", b"<{3}>", b"\r\n"])
        .server(&[b"+ go\r\n"])
        .client(&[b"<joe {7+}>", b"\r\n", b"<hunter2>", b"\r\na3 NOOP\r\n"])
        .check();
}

#[test]
fn messaging_passwords() {
    let connect = |level: u8, properties: &[u8]| {
        let body = [
            b"\0\x04MQTT",
            &[level, 0xc2, 0, 60][..],
            properties,
            b"\0\x02me\0\x03joe\0\x07hunter2",
        ]
        .concat();
        [&[0x10, u8::try_from(body.len()).unwrap()], &body[..body.len() - 7]].concat()
    };
    for head in [connect(4, b""), connect(5, b"\0"), connect(5, b"\x05\x11\0\0\0\x0a")] {
        Said::default()
            .client(&[&head, b"<hunter2>"])
            .server(&[b"\x20\x02\0\0"])
            .client(&[b"\x30\x0c\0\x03a/bpassword"])
            .check();
    }
    let start = b"\0\x0a\0\x0b\0\0\0\x05\x01aS\0\x01\x05PLAIN\0\0\0\x0c";
    let size = be(start.len() + 12 + 6);
    Said::default()
        .client(&[b"AMQP\0\0\x09\x01"])
        .server(&[b"\x01\0\0\0\0\0\x04\0\x0a\0\x0a\xce"])
        .client(&[b"\x01\0\0", &size, start, b"<\0joe\0hunter2>", b"\x05en_US\xce"])
        .client(&[b"\x01\0\0\0\0\0\x04\0\x0a\0\x28\xce"])
        .check();
    Said::default()
        .client(&[b"\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me"])
        .server(&[b"\0\0\0\x04\0\0\0\x01"])
        .client(&[
            b"\0\0\0\x1b\0\x24\0\x01\0\0\0\x02\0\x02me\0\0\0\x0b",
            b"<\0joe\0hunter>"[..].as_ref(),
        ])
        .client(&[b"\0\0\0\x1b\0\x24\0\x02\0\0\0\x03\0\x02me\0\x0d", b"<\0joe\0hunter2>", b"\0"])
        .client(&[b"\0\0\0\x0c\0\x03\0\0\0\0\0\x04\0\x02me"])
        .check();
}

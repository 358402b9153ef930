//! PostgreSQL, MySQL, Redis, MongoDB.

use super::*;

pub(super) const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0joe\0\0";

#[test]
fn postgresql_passwords() {
    Said::default()
        .client(&[STARTUP])
        .server(&[b"R\0\0\0\x08\0\0\0\x03"])
        .client(&[b"p\0\0\0\x0c", b"<hunter2>", b"\0"])
        .server(&[b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"])
        .client(&[b"Q\0\0\0\x11select 'ab'\0\0"])
        .check();
}

#[test]
fn postgresql_scram() {
    Said::default()
        .client(&[STARTUP])
        .server(&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"])
        .client(&[b"p\0\0\0\x1eSCRAM-SHA-256\0\0\0\0\x08", b"<n,,n=,r=>"])
        .server(&[b"R\0\0\0\x0f\0\0\0\x0b", b"<r=1,s=2>"])
        .client(&[b"p\0\0\0\x09", b"<c,r,p>"])
        .server(&[b"R\0\0\0\x0c\0\0\0\x0c", b"<v=ab>"])
        .server(&[b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"])
        .check();
}

/// Values of a statement that names a secret, of one that does not, and an insert.
#[test]
fn postgresql_statements() {
    let sql = b"insert into u (name, pwd) values ('";
    let length = be(4 + sql.len() + 12 + 3);
    Said::default()
        .client(&[STARTUP])
        .client(&[b"P\0\0\0\x2ds\0select pwd from t where id in ($", b"<1,>", b"$2\0\0\0"])
        .client(&[b"P\0\0\0\x12o\0select $1\0\0\0"])
        .client(&[
            b"B\0\0\0\x1e\0s\0\0\x01\0\0\0\x02\0\0\0\x07",
            b"<hunter2>",
            b"\xff\xff\xff\xff\0\0E\0\0\0\x09\0\0\0\0\0",
        ])
        .client(&[b"B\0\0\0\x1a\0o\0\0\x01\0\0\0\x01\0\0\0\x07hunter1\0\0"])
        .client(&[b"Q", &length, sql, b"<joe','hunter>", b"')\0"])
        .client(&[b"X\0\0\0\x04"])
        .shown(usize::MAX, |bytes, secret, shown| {
            let expect: Vec<u8> = bytes
                .iter()
                .zip(secret)
                .map(|(byte, secret)| if *secret == 1 { b'*' } else { *byte })
                .collect();
            assert_eq!(String::from_utf8_lossy(shown), String::from_utf8_lossy(&expect));
        });
}

fn packet(sequence: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&le(body.len())[..3], &[sequence], &body].concat()
}

/// Up to the length of the response.
pub(super) fn handshake(response: usize) -> Vec<u8> {
    let head = [&b"\x05\xa2\x2a\0\0\0\0\x01\x21"[..], &[0; 23], b"joe\0"].concat();
    let length = head.len() + 1 + response + 22;
    [&le(length)[..3], &[2], &head, &[u8::try_from(response).unwrap()]].concat()
}

#[test]
fn mysql_passwords() {
    Said::default()
        .client(&[&handshake(7), b"<hunter2>", b"mysql_native_password\0"])
        .server(&[&packet(3, &[b"\xfemysql_clear_password\0"])])
        .client(&[b"\x08\0\0\x04", b"<hunter3\0>"])
        .server(&[&packet(5, &[b"\0\0\0\x02\0\0\0"])])
        .client(&[&packet(0, &[b"\x03select 'ab'"])])
        .client(&[b"\x14\0\0\0\x11joe\0\x07", b"<hunter4>", b"shop\0\x21\0"])
        .client(&[b"\x08\0\0\x02", b"<hunter5\0>"])
        .server(&[&packet(3, &[b"\0\0\0\x02\0\0\0"])])
        .client(&[&packet(0, &[b"\x03select 'hunter2'"])])
        .check();
}

#[test]
fn mysql_statements() {
    Said::default()
        .client(&[&handshake(0), b"mysql_native_password\0"])
        .client(&[&packet(0, &[b"\x16insert into t (pwd) values (?)"])])
        .server(&[&packet(1, &[b"\0\x07\0\0\0\0\0\x01\0\0\0\0"])])
        .client(&[
            b"\x15\0\0\0\x17\x07\0\0\0\0\x01\0\0\0",
            b"<\0\x01\xfd\0\x06hunter>"[..].as_ref(),
        ])
        .client(&[&packet(0, &[b"\x16select ?"])])
        .server(&[&packet(1, &[b"\0\x08\0\0\0\0\0\x01\0\0\0\0"])])
        .client(&[&packet(0, &[b"\x17\x08\0\0\0\0\x01\0\0\0\0\x01\xfd\0\x05hello"])])
        .check();
}

#[test]
fn redis_passwords() {
    Said::default()
        .client(&[
            b"*2\r\n$4\r\nauth\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
        ])
        .client(&[b"*3\r\n$4\r\nAUTH\r\n$3\r\n", b"<joe>", b"\r\n$7\r\n", b"<hunter2>", b"\r\n"])
        .client(&[
            b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\n",
            b"<AUTH>",
            b"\r\n$3\r\n",
            b"<joe>",
            b"\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n",
        ])
        .client(&[
            b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nrequirepass\r\n$7\r\n",
            b"<hunter2>",
            b"\r\n",
        ])
        .client(&[
            b"*4\r\n$3\r\nACL\r\n$7\r\nSETUSER\r\n$3\r\n",
            b"<joe>",
            b"\r\n$8\r\n",
            b"<>hunter2>",
            b"\r\n",
        ])
        .client(&[b"AUTH ", b"<hunter2>", b"\r\nPING\r\n"])
        .server(&[b"+OK\r\n*2\r\n$11\r\nrequirepass\r\n$7\r\n", b"<hunter2>", b"\r\n$-1\r\n:1\r\n"])
        .check();
}

#[test]
fn mongodb_payloads() {
    let member = b"\x05payload\0\x07\0\0\0\0hunter2\x02db\0\x02\0\0\0a\0\0";
    let document = [&le(member.len() + 4 + 16)[..], b"\x10saslStart\0\x01\0\0\0", b"\0"].concat();
    let head = &document[..document.len() - 1];
    let whole = head.len() + member.len();
    let length = le(16 + 4 + 1 + whole);
    Said::default()
        .client(&[
            &length,
            b"\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0",
            &le(whole),
            &head[4..],
            b"\x05payload\0\x07\0\0\0",
            b"<\0hunter2>",
            b"\x02db\0\x02\0\0\0a\0\0",
        ])
        .check();
}

//! Methods by their numbers (specification, section 1.8 and chapter 1 of the reference), and RabbitMQ's
//! extensions `basic.nack`, `confirm`, `exchange.bind`, `connection.blocked`, `connection.update-secret`.

use self::Answer::{Always, Never, Unless};
use super::failure;
use crate::decode::{Messaging, Operation, Purpose, Role, cursor::Cursor};

/// Class and method.
pub(super) type Id = (u16, u16);

pub(super) const CONNECTION_CLOSE: Id = (10, 50);
const CHANNEL_CLOSE: Id = (20, 40);
const START_OK: Id = (10, 11);
const PUBLISH: Id = (60, 40);
const RETURN: Id = (60, 50);
const DELIVER: Id = (60, 60);
pub(super) const GET: Id = (60, 70);
pub(super) const GET_OK: Id = (60, 71);
const GET_EMPTY: Id = (60, 72);

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Client,
    Server,
    Both,
}

#[derive(Debug)]
pub(super) struct Method {
    pub(super) id: Id,
    name: &'static str,
    by: By,
    /// The method that it answers.
    pub(super) answers: Option<Id>,
    /// Its arguments, a letter each, see [`read`].
    arguments: &'static str,
    /// It is not told.
    pub(super) quiet: bool,
    /// A message follows it.
    pub(super) content: bool,
    /// Nothing answers it, or not if this bit is set.
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Always,
    Never,
    Unless(u8),
}

const fn asks(id: Id, name: &'static str, arguments: &'static str, answer: Answer) -> Method {
    let (by, answers, quiet, content) = (By::Client, None, false, false);
    Method { id, name, by, answers, arguments, quiet, content, answer }
}

const fn ok(id: Id, answers: Id, arguments: &'static str) -> Method {
    let method = asks(id, "", arguments, Never);
    Method { by: By::Server, answers: Some(answers), ..method }
}

const fn quiet(id: Id, by: By) -> Method {
    Method { by, quiet: true, ..asks(id, "", "", Never) }
}

const fn message(id: Id, name: &'static str, by: By, arguments: &'static str) -> Method {
    Method { by, content: true, ..asks(id, name, arguments, Never) }
}

const fn of_both(method: Method) -> Method {
    Method { by: By::Both, ..method }
}

static METHODS: &[Method] = &[
    quiet((10, 10), By::Server),
    // Answered by connection.tune; connection.secure and -secure-ok may come between.
    asks(START_OK, "connection.start-ok", "m", Always),
    quiet((10, 20), By::Server),
    quiet((10, 21), By::Client),
    ok((10, 30), START_OK, ""),
    quiet((10, 31), By::Client),
    asks((10, 40), "connection.open", "v", Always),
    ok((10, 41), (10, 40), ""),
    of_both(asks(CONNECTION_CLOSE, "connection.close", "rti", Always)),
    of_both(ok((10, 51), CONNECTION_CLOSE, "")),
    Method { by: By::Server, ..asks((10, 60), "connection.blocked", "w", Never) },
    Method { by: By::Server, ..asks((10, 61), "connection.unblocked", "", Never) },
    asks((10, 70), "connection.update-secret", "", Always),
    ok((10, 71), (10, 70), ""),
    asks((20, 10), "channel.open", "", Always),
    ok((20, 11), (20, 10), ""),
    quiet((20, 20), By::Both),
    quiet((20, 21), By::Both),
    of_both(asks(CHANNEL_CLOSE, "channel.close", "rti", Always)),
    of_both(ok((20, 41), CHANNEL_CLOSE, "")),
    asks((40, 10), "exchange.declare", "-dyb", Unless(0x10)),
    ok((40, 11), (40, 10), ""),
    asks((40, 20), "exchange.delete", "-db", Unless(2)),
    ok((40, 21), (40, 20), ""),
    asks((40, 30), "exchange.bind", "-dekb", Unless(1)),
    ok((40, 31), (40, 30), ""),
    asks((40, 40), "exchange.unbind", "-dekb", Unless(1)),
    ok((40, 51), (40, 40), ""),
    asks((50, 10), "queue.declare", "-db", Unless(0x10)),
    ok((50, 11), (50, 10), "d"),
    asks((50, 20), "queue.bind", "-dekb", Unless(1)),
    ok((50, 21), (50, 20), ""),
    asks((50, 30), "queue.purge", "-db", Unless(1)),
    ok((50, 31), (50, 30), "n"),
    asks((50, 40), "queue.delete", "-db", Unless(4)),
    ok((50, 41), (50, 40), "n"),
    asks((50, 50), "queue.unbind", "-dek", Always),
    ok((50, 51), (50, 50), ""),
    asks((60, 10), "basic.qos", "", Always),
    ok((60, 11), (60, 10), ""),
    asks((60, 20), "basic.consume", "-dsb", Unless(8)),
    ok((60, 21), (60, 20), ""),
    of_both(asks((60, 30), "basic.cancel", "sb", Unless(1))),
    of_both(ok((60, 31), (60, 30), "")),
    message(PUBLISH, "basic.publish", By::Client, "-dk"),
    message(RETURN, "basic.return", By::Server, "rtdk"),
    message(DELIVER, "basic.deliver", By::Server, "sgbdk"),
    asks(GET, "basic.get", "-d", Always),
    ok(GET_OK, GET, "gbek"),
    ok(GET_EMPTY, GET, ""),
    quiet((60, 80), By::Both),
    quiet((60, 90), By::Client),
    quiet((60, 100), By::Client),
    asks((60, 110), "basic.recover", "", Always),
    ok((60, 111), (60, 110), ""),
    quiet((60, 120), By::Both),
    asks((85, 10), "confirm.select", "b", Unless(1)),
    ok((85, 11), (85, 10), ""),
    asks((90, 10), "tx.select", "", Always),
    ok((90, 11), (90, 10), ""),
    asks((90, 20), "tx.commit", "", Always),
    ok((90, 21), (90, 20), ""),
    asks((90, 30), "tx.rollback", "", Always),
    ok((90, 31), (90, 30), ""),
];

/// The method of a frame.
pub(super) fn id(body: &[u8]) -> Option<Id> {
    let mut fields = Cursor(body);
    Some((fields.int16()?, fields.int16()?))
}

/// Whether an answer tells that what was asked on its channel before is not answered any more.
pub(super) const fn renews_channel(answer: Id) -> bool {
    matches!(answer, (20, 11 | 41))
}

/// The method of this number, if this side may call it.
pub(super) fn find(side: Role, id: Id) -> Option<&'static Method> {
    let of_side = |by| match by {
        By::Both => true,
        By::Client => side == Role::Client,
        By::Server => side == Role::Server,
    };
    METHODS.iter().find(|method| method.id == id && of_side(method.by))
}

/// What the arguments of a method say.
#[derive(Debug, Default)]
pub(super) struct Said {
    target: Option<String>,
    key: Option<String>,
    tag: Option<u64>,
    bits: u8,
    code: Option<u16>,
    words: Option<String>,
    pub(super) because: Option<Id>,
    count: Option<u32>,
    /// What else is of interest, in words.
    notes: String,
}

/// `None` when they are not all there, or malformed.
pub(super) fn read(method: &Method, body: &[u8]) -> Option<Said> {
    let mut said = Said::default();
    let mut fields = Cursor(body.get(4..)?);
    for letter in method.arguments.bytes() {
        match letter {
            b'-' => drop(fields.int16()?),
            b'd' => said.target = Some(short(&mut fields)?),
            b'k' => said.key = Some(short(&mut fields)?),
            b'g' => said.tag = Some(fields.int64()?),
            b'b' => said.bits = fields.byte()?,
            b'r' => said.code = Some(fields.int16()?),
            b't' => said.words = Some(short(&mut fields)?),
            b'i' => said.because = Some((fields.int16()?, fields.int16()?)),
            b'n' => said.count = Some(fields.int32()?),
            b'e' => said.notes = format!(" exchange={}", short(&mut fields)?),
            b'y' => said.notes = format!(" type={}", short(&mut fields)?),
            b'v' => said.notes = format!(" vhost={}", short(&mut fields)?),
            b'w' => said.notes = format!(" {}", short(&mut fields)?),
            b'm' => said.notes = mechanism(&mut fields)?,
            // A consumer's tag.
            _ => drop(short(&mut fields)?),
        }
    }
    Some(said)
}

/// "Short strings ... up to 255 octets of UTF-8".
fn short(fields: &mut Cursor<'_>) -> Option<String> {
    let length = fields.byte()?;
    str::from_utf8(fields.take(usize::from(length))?).ok().map(str::to_owned)
}

fn long<'a>(fields: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let length = fields.int32()?;
    fields.take(usize::try_from(length).ok()?)
}

/// How a client says who it is, and who; what proves it is left out.
fn mechanism(fields: &mut Cursor<'_>) -> Option<String> {
    long(fields)?;
    let mechanism = short(fields)?;
    let user = user(&mechanism, long(fields)?);
    let user = user.map_or(String::new(), |user| format!(" user={user}"));
    Some(format!(" mechanism={mechanism}{user}"))
}

fn user<'a>(mechanism: &str, response: &'a [u8]) -> Option<&'a str> {
    let user = match mechanism {
        // RFC 4616: "[authzid] UTF8NUL authcid UTF8NUL passwd".
        "PLAIN" => response.split(|&byte| byte == 0).nth(1)?,
        // A table with "LOGIN" and "PASSWORD".
        "AMQPLAIN" => long(&mut Cursor(response.strip_prefix(b"\x05LOGINS")?))?,
        _ => return None,
    };
    str::from_utf8(user).ok()
}

impl Said {
    /// Fills in what a method says.
    pub(super) fn write(
        &self,
        method: &Method,
        channel: u16,
        side: Role,
        operation: &mut Operation,
    ) {
        operation.name = Some(method.name.to_owned());
        operation.target.clone_from(&self.target);
        let target = self.target.as_ref().map_or(String::new(), |target| format!(" {target}"));
        let code = self.code.map_or(String::new(), |code| format!(" {code}"));
        let words = self.words.as_ref().map_or(String::new(), |words| format!(" {words}"));
        if side == Role::Client || code.is_empty() {
            let text = format!("{}{target}{}{code}{words}", method.name, self.notes);
            let more = !self.notes.is_empty() || !code.is_empty();
            operation.text = more.then_some(text);
        } else if let Some(code) = self.code.filter(|&code| code != 200) {
            operation.outcome = Some(failure(code, self.words.clone()));
        }
        if method.id == RETURN {
            operation.outcome.get_or_insert_default().failed = true;
        }
        let purpose = match method.id {
            PUBLISH => Some(Purpose::Send),
            DELIVER | GET => Some(Purpose::Receive),
            _ => None,
        };
        operation.messaging = Some(Box::new(Messaging {
            purpose,
            channel: Some(channel),
            delivery_tag: self.tag,
            routing_key: self.key.clone(),
            ..Messaging::default()
        }));
    }

    /// Fills in what an answer says.
    pub(super) fn write_answer(self, by: Id, operation: &mut Operation) {
        let outcome = operation.outcome.get_or_insert_default();
        outcome.affected = self.count.map(u64::from);
        outcome.returned = match by {
            GET_OK => Some(1),
            GET_EMPTY => Some(0),
            _ => None,
        };
        // The server gives a name to a queue that has none.
        if let Some(name) = self.target.filter(|name| !name.is_empty()) {
            operation.target = Some(name);
        }
        if let Some(said) = &mut operation.messaging {
            said.routing_key = self.key.or(said.routing_key.take());
            said.delivery_tag = self.tag.or(said.delivery_tag);
        }
    }

    /// Whether the server ends something because of a failure.
    pub(super) fn fails(&self, method: &Method, side: Role) -> bool {
        let closes = matches!(method.id, CONNECTION_CLOSE | CHANNEL_CLOSE);
        closes && side == Role::Server && self.code.is_some_and(|code| code != 200)
    }

    /// Whether an answer is to come, of which something is told.
    pub(super) const fn waits(&self, method: &Method, side: Role) -> bool {
        match method.answer {
            Always => matches!(side, Role::Client),
            Never => false,
            Unless(bit) => matches!(side, Role::Client) && self.bits & bit == 0,
        }
    }
}

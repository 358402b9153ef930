//! A command in, the operation out: its name, what it is done to, and its text.

use super::{
    bson::{Element, Elements, End},
    json::Json,
    sections::{Body, Documents, MORE_TO_COME, Sequence, Wrong, elements},
    wire::{Opcode, Packet},
};
use crate::decode::{Operation, Role, System, pending::Pending};

const NAME_LIMIT: usize = 64;

/// Commands whose first member is a collection.
const OF_COLLECTIONS: &str = " aggregate bulkWrite collMod collStats compact convertToCapped count \
    create createIndexes dataSize delete distinct drop dropIndexes find findAndModify findandmodify \
    geoSearch group insert listIndexes mapReduce mapreduce reIndex update validate ";

/// "The following commands are considered sensitive" (Command Logging and Monitoring, "Security").
const SENSITIVE: &str = " authenticate saslStart saslContinue getnonce createUser updateUser \
    copydbgetnonce copydbsaslstart copydb ";

/// What is told elsewhere, or says nothing of the command: the session, the cluster's time.
const LEFT_OUT: [&str; 4] = ["$db", "lsid", "$clusterTime", "speculativeAuthenticate"];

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) pending: Pending,
    /// Whether the server answers it.
    pub(super) answered: bool,
}

pub(super) fn read(packet: &Packet, role: Role) -> Result<Asked, Wrong> {
    let frame = &packet.frame;
    let mut pending = Pending::request(System::Mongodb, role, frame.began, frame.size);
    let operation = &mut pending.operation;
    operation.truncated = frame.lost;
    let body = match Body::of(packet) {
        Ok(body) => body,
        Err(Wrong::Malformed) => return Err(Wrong::Malformed),
        Err(Wrong::Compressed) => {
            // Whether it is answered is not known either: the answer tells.
            operation.name = Some(packet.header.opcode.name().to_owned());
            operation.truncated = true;
            return Ok(Asked { pending, answered: true });
        }
    };
    let documents = body.documents()?;
    operation.truncated |= !documents.whole;
    let answered = match body.opcode {
        Opcode::Message => documents.flags & MORE_TO_COME == 0,
        Opcode::Query | Opcode::GetMore => true,
        _ => false,
    };
    match documents.collection.map(String::from_utf8_lossy) {
        Some(whole) => older(operation, body.opcode, &whole, &documents),
        None if body.opcode == Opcode::Message => command(operation, &documents),
        None => operation.name = Some(body.opcode.name().to_owned()),
    }
    Ok(Asked { pending, answered })
}

/// A message from before `OP_MSG`: `$cmd` in place of a collection stands for a command.
fn older(operation: &mut Operation, opcode: Opcode, whole: &str, documents: &Documents<'_>) {
    let (database, collection) = whole.split_once('.').unwrap_or((whole, ""));
    if opcode == Opcode::Query && collection == "$cmd" {
        command(operation, documents);
    } else {
        operation.name = Some(opcode.name().to_owned());
        operation.target = Some(collection.to_owned()).filter(|name| !name.is_empty());
        if let Some(document) = documents.command {
            let mut json = Json::default();
            json.document(document);
            operation.truncated |= json.cut;
            operation.text = Some(json.text);
        }
    }
    operation.namespace = Some(database.to_owned());
}

fn command(operation: &mut Operation, documents: &Documents<'_>) {
    let Some(document) = documents.command else { return };
    // Clients of other topologies put the command into a member.
    let inner = Elements::of(document).next().filter(|first| first.name == "$query");
    let document = inner.filter(|inner| inner.kind == 0x03).map_or(document, |inner| inner.value);
    let mut elements = Elements::of(document);
    let Some(first) = elements.next() else { return };
    let name: String = first.name.chars().take(NAME_LIMIT).collect();
    if is_among(OF_COLLECTIONS, &name) {
        operation.target = first.text().map(str::to_owned);
    }
    for element in elements {
        match element.name {
            "$db" => operation.namespace = element.text().map(str::to_owned),
            "collection" if name == "getMore" => {
                operation.target = element.text().map(str::to_owned);
            }
            _ => {}
        }
    }
    let json = text(&name, document, &documents.sequences);
    operation.truncated |= json.cut;
    operation.text = Some(json.text);
    operation.name = Some(name);
}

fn is_among(words: &str, name: &str) -> bool {
    !name.is_empty() && words.split_ascii_whitespace().any(|word| word == name)
}

/// The command with what belongs to it.
fn text(name: &str, document: &[u8], sequences: &[Sequence<'_>]) -> Json {
    let sensitive = is_among(SENSITIVE, name);
    let mut json = Json::default();
    json.put("{");
    let mut members = Elements::of(document);
    for member in &mut members {
        let shown = !LEFT_OUT.contains(&member.name)
            && (!sensitive || member.name == name || member.name == "mechanism");
        if !shown {
            continue;
        }
        if !json.has_room() {
            break;
        }
        json.name(member.name);
        self::member(&mut json, name, &member);
    }
    json.cut |= members.end != End::Whole;
    for sequence in sequences.iter().filter(|_| !sensitive) {
        if !json.has_room() {
            break;
        }
        json.name(sequence.name);
        let (documents, whole) = sequence.each();
        if is_bulk(name, sequence.name) {
            summary(&mut json, &documents, whole);
        } else {
            list(&mut json, &documents, whole);
        }
    }
    json.put("}");
    json
}

fn member(json: &mut Json, command: &str, member: &Element<'_>) {
    match member.elements() {
        Some(array) if member.kind == 0x04 && is_bulk(command, member.name) => {
            let (documents, whole) = elements(array);
            summary(json, &documents, whole);
        }
        _ => json.value(member),
    }
}

/// Whether a member of a command is the documents that it writes.
fn is_bulk(command: &str, member: &str) -> bool {
    matches!((command, member), ("insert", "documents") | ("bulkWrite", "ops"))
}

fn list(json: &mut Json, documents: &[&[u8]], whole: bool) {
    json.put("[");
    for document in documents {
        if !json.has_room() {
            break;
        }
        json.comma();
        json.document(document);
    }
    json.cut |= !whole;
    json.put("]");
}

/// The first document's members with their types, and how many there are behind it.
fn summary(json: &mut Json, documents: &[&[u8]], whole: bool) {
    json.put("[");
    if let Some((first, rest)) = documents.split_first() {
        json.put("{");
        let mut members = Elements::of(first);
        for member in &mut members {
            if !json.has_room() {
                break;
            }
            json.name(member.name);
            json.string(member.kind_name());
        }
        json.cut |= members.end != End::Whole;
        json.put("}");
        if whole && !rest.is_empty() {
            json.comma();
            json.string(&format!("{} more", rest.len()));
        }
    }
    json.cut |= !whole;
    json.put("]");
}

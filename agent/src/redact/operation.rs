//! Operations of protocols other than HTTP: what authenticates, and SQL that tells passwords.

use super::{MASK, Redactor, mask_string, names, word::Word};
use crate::decode::{Operation, System};

impl Redactor {
    pub(super) fn operation(&self, operation: &mut Operation) {
        let text = operation.text.as_deref().unwrap_or_default();
        let secret = secret_from(operation, text);
        if let Some((start, end)) = secret {
            operation.parameters.iter_mut().flatten().for_each(hide);
            if let Some(text) = &mut operation.text {
                mask_string(text, std::slice::from_ref(&(start..end)));
            }
            if !is_sql(operation.system)
                && let Some(target) = &mut operation.target
            {
                hide(target);
            }
        }
        if let Some(said) = &mut operation.messaging {
            let said = &mut **said;
            let names = [&mut said.client, &mut said.group, &mut said.routing_key];
            names.into_iter().flatten().for_each(|name| self.string(name));
        }
        let texts = operation.text.iter_mut().chain(&mut operation.target);
        let texts = texts.chain(&mut operation.namespace);
        texts.chain(operation.parameters.iter_mut().flatten()).for_each(|text| self.string(text));
        if let Some(message) =
            operation.outcome.as_mut().and_then(|outcome| outcome.message.as_mut())
        {
            self.string(message);
        }
    }
}

fn hide(text: &mut String) {
    *text = char::from(MASK).to_string().repeat(text.len());
}

const fn is_sql(system: System) -> bool {
    matches!(system, System::Postgresql | System::Mysql)
}

/// Where the secret of an operation that carries one is in its text; its parameters are secret too.
fn secret_from(operation: &Operation, text: &str) -> Option<(usize, usize)> {
    let name = operation.name.as_deref().unwrap_or_default();
    let start = match operation.system {
        System::Postgresql | System::Mysql => return sql(text, name),
        System::Redis => redis(text),
        System::Smtp | System::Imap => mail(text),
        System::Mongodb | System::Kafka | System::Amqp | System::Mqtt => None,
    };
    // A line that answers a challenge says nothing of what it is.
    let start = start.or_else(|| authenticates(name).then_some(0))?;
    Some((start, text.len()))
}

fn authenticates(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "sasl", "login", "password"].iter().any(|word| name.contains(word))
}

/// `AUTH [user] password`, `HELLO 3 AUTH user password`, `ACL SETUSER`, `CONFIG SET`, `MIGRATE`,
/// `SENTINEL SET master option value`.
fn redis(text: &str) -> Option<usize> {
    match word(text, 0).to_ascii_uppercase().as_str() {
        "AUTH" => Some(behind(text, 1)),
        "HELLO" => Some(behind(text, 2)),
        "ACL" if word(text, 1).eq_ignore_ascii_case("setuser") => Some(behind(text, 2)),
        "CONFIG" if word(text, 1).eq_ignore_ascii_case("set") => {
            let tail = text.get(behind(text, 2)..)?.to_ascii_lowercase();
            (tail.contains("pass") || tail.contains("auth")).then(|| behind(text, 2))
        }
        "MIGRATE" => Some(behind(text, 2)),
        "SENTINEL" if word(text, 1).eq_ignore_ascii_case("set") => Some(behind(text, 3)),
        _ => None,
    }
}

/// RFC 4954, section 4: `AUTH mechanism [initial-response]`; RFC 9051, sections 6.2.2 and 6.2.3:
/// `tag AUTHENTICATE mechanism [initial-response]`, `tag LOGIN user password`.
fn mail(text: &str) -> Option<usize> {
    (0..2).find_map(|at| match word(text, at).to_ascii_uppercase().as_str() {
        "AUTH" | "AUTHENTICATE" => Some(behind(text, at + 2)),
        "LOGIN" => Some(behind(text, at + 1)),
        _ => None,
    })
}

/// From the first quote behind a name of a secret to the last one: how literals are escaped depends
/// on settings of the server, so that no literal in between is shown.
fn sql(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = words.find(|word| {
        let letters = Word::of(word);
        letters.as_bytes() == b"identified" || names::kind(letters.as_bytes(), false).is_some()
    });
    let Some(named) = named else {
        return authenticates(name).then_some((0, text.len()));
    };
    let at = (named.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + named.len();
    let quotes = ['\'', '"', '$'];
    let tail = text.get(at..).unwrap_or_default();
    let Some(first) = tail.find(quotes) else { return Some((text.len(), text.len())) };
    let last = tail.rfind(quotes).filter(|&last| last > first);
    Some((at + first + 1, last.map_or(text.len(), |last| at + last)))
}

fn word(text: &str, at: usize) -> &str {
    text.split_ascii_whitespace().nth(at).unwrap_or_default()
}

/// Where what is behind so many words begins.
fn behind(text: &str, words: usize) -> usize {
    let mut rest = text.trim_ascii_start();
    for _ in 0..words {
        let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    text.len() - rest.len()
}

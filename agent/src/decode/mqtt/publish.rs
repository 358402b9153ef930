//! PUBLISH packets (MQTT 5.0, section 3.3), and the topics that numbers stand for.

use std::collections::HashMap;

use super::{
    Mqtt,
    fields::{length, properties},
};
use crate::decode::{Messaging, Operation, Outcome, Purpose, Role, cursor::Cursor, frames::Frame};

const ALIASES_BYTES: usize = 1 << 20;

/// The topics of a side by their aliases. What was not seen is not in it.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    topics: HashMap<u16, String>,
    bytes: usize,
}

impl Aliases {
    fn set(&mut self, alias: u16, topic: &str) {
        let before = self.topics.insert(alias, topic.to_owned());
        let before = before.map_or(0, |topic| cost(&topic));
        self.bytes = (self.bytes + cost(topic)).saturating_sub(before);
        if self.bytes > ALIASES_BYTES {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) const fn weight(&self) -> usize {
        self.bytes
    }
}

/// The memory that a topic takes.
const fn cost(topic: &str) -> usize {
    topic.len() + 2 * size_of::<(u16, String)>()
}

impl Mqtt {
    /// The number that its answer names, if there will be one.
    pub(super) fn publish(
        &mut self,
        side: Role,
        frame: &Frame,
        operation: &mut Operation,
    ) -> Option<Option<u16>> {
        let qos = (frame.head.first()? >> 1) & 3;
        let length = usize::from(u16::from_be_bytes(*frame.head.last_chunk()?));
        let purpose = if side == Role::Client { Purpose::Send } else { Purpose::Receive };
        let mut said = Messaging { purpose: Some(purpose), qos: Some(qos), ..Messaging::default() };
        operation.truncated = frame.lost;
        let mut fields = Cursor(&frame.body);
        if let Some(topic) = fields.take(length) {
            operation.target = self.topic(topic)?;
            said.packet_id = if qos > 0 { fields.int16() } else { None };
            if said.packet_id == Some(0) {
                return None;
            }
            if qos > 0 && said.packet_id.is_none() {
                self.of(side).aliases.clear();
            } else if let Some(behind) = self.behind_properties(side, fields, operation) {
                let before = frame.head.len() + frame.body.len() - behind;
                said.body_size = frame.size.checked_sub(before as u64);
            }
        } else {
            // Lost, and with it which topic its alias has from now on.
            self.of(side).aliases.clear();
        }
        let id = said.packet_id;
        operation.messaging = Some(Box::new(said));
        if qos == 0 {
            operation.outcome = Some(Outcome::default());
        }
        Some(id)
    }

    /// `Some(None)` when only an alias is sent.
    fn topic(&mut self, topic: &[u8]) -> Option<Option<String>> {
        if topic.is_empty() {
            // Only version 5 has aliases.
            return (*self.level.get_or_insert(5) == 5).then_some(None);
        }
        // "MUST NOT contain wildcard characters", nor "the null character".
        let topic = str::from_utf8(topic).ok()?;
        if topic.contains(['+', '#', '\0']) {
            return None;
        }
        Some(Some(topic.to_owned()))
    }

    /// How many bytes of the rest, of which not all may be kept, lie behind the properties. Sets or
    /// finds the topic's alias.
    fn behind_properties(
        &mut self,
        side: Role,
        mut fields: Cursor<'_>,
        operation: &mut Operation,
    ) -> Option<usize> {
        match self.level {
            Some(5) => {}
            Some(_) => return Some(fields.0.len()),
            None => return None,
        }
        let mut rest = fields;
        let behind = length(&mut rest).and_then(|length| rest.0.len().checked_sub(length));
        let Some(read) = properties(&mut fields) else {
            self.of(side).aliases.clear();
            return behind;
        };
        let aliases = &mut self.of(side).aliases;
        match (read.alias, &operation.target) {
            (Some(alias), Some(topic)) => aliases.set(alias, topic),
            (Some(alias), None) => operation.target = aliases.topics.get(&alias).cloned(),
            (None, _) => {}
        }
        behind
    }
}

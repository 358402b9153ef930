//! CONNECT with its answer, SUBSCRIBE and UNSUBSCRIBE. MQTT 5.0, sections 3.1, 3.2, 3.8 and 3.10.

use std::fmt::Write as _;

use super::{
    Mqtt,
    fields::{self, properties},
    packets::Kind,
    reasons,
};
use crate::decode::{
    Messaging, Operation, Outcome, cursor::Cursor, frames::Frame, pending::TEXT_LIMIT,
};

const WILL: u8 = 0x04;
const USER: u8 = 0x80;

impl Mqtt {
    /// Who a client says it is; what proves it is not read.
    pub(super) fn connect(&mut self, frame: &Frame, operation: &mut Operation) -> Option<()> {
        let mut fields = Cursor(&frame.body);
        operation.truncated = frame.lost;
        if fields.counted16()? != b"MQTT" {
            return None;
        }
        let level = fields.byte().filter(|level| matches!(level, 4 | 5))?;
        self.level = Some(level);
        let mut text = format!("CONNECT version={}", if level == 4 { "3.1.1" } else { "5.0" });
        // Writing into a string does not fail.
        if self.names(fields, level, operation, &mut text).is_none() {
            operation.truncated = true;
        }
        operation.text = Some(text);
        Some(())
    }

    fn names(
        &self,
        mut fields: Cursor<'_>,
        level: u8,
        operation: &mut Operation,
        text: &mut String,
    ) -> Option<()> {
        let flags = fields.byte()?;
        let _ = write!(text, " keepalive={}", fields.int16()?);
        if level == 5 {
            properties(&mut fields)?;
        }
        let client = fields.text16()?;
        if !client.is_empty() {
            let _ = write!(text, " client={client}");
            let client = Some(client.to_owned());
            operation.messaging = Some(Box::new(Messaging { client, ..Messaging::default() }));
        }
        if flags & USER != 0 {
            text.push_str(" user=present");
        }
        if flags & WILL != 0 {
            if level == 5 {
                properties(&mut fields)?;
            }
            let _ = write!(text, " will={}", fields.text16()?);
        }
        Some(())
    }

    /// What the server says to a CONNECT, as [`fields::outcome`].
    pub(super) fn connected(
        &mut self,
        operation: &mut Operation,
        mut fields: Cursor<'_>,
        whole: bool,
    ) -> Option<Option<Outcome>> {
        let (Some(flags), Some(code)) = (fields.byte(), fields.byte()) else {
            return (!whole).then_some(None);
        };
        // Of flags there is but one: "Session Present".
        if flags > 1 {
            return None;
        }
        if self.level == Some(4) {
            return (code <= 5).then(|| Some(reasons::refusal(code)));
        }
        let read = properties(&mut fields);
        let reason = read.as_ref().and_then(|read| read.reason);
        // A name that the server gives to a client that has none.
        if let Some(client) = read.as_ref().and_then(|read| read.client) {
            operation.messaging.get_or_insert_default().client = Some(client.to_owned());
        }
        Some(Some(reasons::outcome(code, reason)))
    }

    /// Topics that are subscribed to, or no more.
    pub(super) fn topics(
        &mut self,
        kind: Kind,
        frame: &Frame,
        operation: &mut Operation,
    ) -> Option<Option<u16>> {
        operation.truncated = !frame.whole;
        let Some(id) = Cursor(&frame.body).int16() else {
            return frame.lost.then_some(None);
        };
        operation.messaging =
            Some(Box::new(Messaging { packet_id: Some(id), ..Messaging::default() }));
        if !frame.whole {
            return Some(Some(id));
        }
        let Some((level, filters)) = fields::filters(kind, self.level, &frame.body) else {
            // Without the level it may be either.
            return self.level.is_none().then_some(Some(id));
        };
        self.level = Some(level);
        let mut text = kind.name().to_owned();
        for (filter, options) in &filters {
            let _ = write!(text, " {filter}");
            if let Some(options) = options {
                let _ = write!(text, " qos={}", options & 3);
            }
        }
        if text.len() > TEXT_LIMIT {
            text.truncate(text.floor_char_boundary(TEXT_LIMIT));
            operation.truncated = true;
        }
        operation.target = match filters.as_slice() {
            [(filter, _)] => Some((*filter).to_owned()),
            _ => None,
        };
        operation.text = Some(text);
        Some(Some(id))
    }
}

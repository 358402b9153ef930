//! Control packets: their fixed header. MQTT 5.0, section 2.1; 3.1.1, section 2.2.

use crate::decode::{Role, cursor::Cursor, frames::Head, pending::TEXT_LIMIT};

/// The type of a control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    ConnAck,
    Publish,
    PubAck,
    PubRec,
    PubRel,
    PubComp,
    Subscribe,
    SubAck,
    Unsubscribe,
    UnsubAck,
    PingReq,
    PingResp,
    Disconnect,
    Auth,
}

impl Kind {
    /// By the first byte of a packet, if a side may send it so: "If invalid flags are received, the
    /// receiver MUST close the Network Connection".
    pub(super) const fn of(first: u8, side: Role) -> Option<Self> {
        Some(match (first, side) {
            (0x10, Role::Client) => Self::Connect,
            (0x20, Role::Server) => Self::ConnAck,
            // Quality of service 3 is reserved.
            (0x30..=0x3f, _) if first & 6 != 6 => Self::Publish,
            (0x40, _) => Self::PubAck,
            (0x50, _) => Self::PubRec,
            (0x62, _) => Self::PubRel,
            (0x70, _) => Self::PubComp,
            (0x82, Role::Client) => Self::Subscribe,
            (0x90, Role::Server) => Self::SubAck,
            (0xa2, Role::Client) => Self::Unsubscribe,
            (0xb0, Role::Server) => Self::UnsubAck,
            (0xc0, Role::Client) => Self::PingReq,
            (0xd0, Role::Server) => Self::PingResp,
            (0xe0, _) => Self::Disconnect,
            (0xf0, _) => Self::Auth,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }

    /// Whether a packet of this type is answered by one of that.
    pub(super) const fn is_answered(self, by: Self) -> bool {
        matches!(
            (self, by),
            (Self::Connect, Self::ConnAck)
                | (Self::Publish, Self::PubAck | Self::PubRec | Self::PubComp)
                | (Self::Subscribe, Self::SubAck)
                | (Self::Unsubscribe, Self::UnsubAck)
        )
    }

    /// Whether what follows the fixed header may be so long.
    const fn fits(self, length: u64) -> bool {
        match self {
            Self::PingReq | Self::PingResp => length == 0,
            Self::Connect => length >= 12,
            Self::ConnAck
            | Self::PubAck
            | Self::PubRec
            | Self::PubRel
            | Self::PubComp
            | Self::UnsubAck => length >= 2,
            // A topic's length and the topic, or an alias.
            Self::Publish | Self::SubAck => length >= 3,
            Self::Subscribe => length >= 6,
            Self::Unsubscribe => length >= 5,
            Self::Disconnect | Self::Auth => true,
        }
    }

    /// How much of a packet is of use.
    const fn keep(self) -> usize {
        match self {
            Self::PingReq | Self::PingResp | Self::Auth => 0,
            Self::Subscribe | Self::Unsubscribe => TEXT_LIMIT + 4096,
            _ => 8 << 10,
        }
    }
}

/// How much of the properties of a PUBLISH is kept.
const PROPERTIES: usize = 2048;

/// The fixed header; of PUBLISH, the topic's length belongs to it here, since the payload, which
/// may be long, is of no use.
pub(super) fn head(side: Role, head: &[u8]) -> Head {
    let mut fields = Cursor(head);
    let Some(first) = fields.byte() else { return Head::More };
    let Some(kind) = Kind::of(first, side) else { return Head::Malformed };
    let length = match variable(&mut fields) {
        Some(Ok(length)) => u64::from(length),
        Some(Err(Wrong)) => return Head::Malformed,
        None => return Head::More,
    };
    if !kind.fits(length) {
        return Head::Malformed;
    }
    if kind != Kind::Publish {
        return Head::Body { length, keep: kind.keep() };
    }
    let Some(topic) = fields.int16() else { return Head::More };
    let rest = length.saturating_sub(2);
    if u64::from(topic) > rest {
        return Head::Malformed;
    }
    Head::Body { length: rest, keep: usize::from(topic) + 2 + PROPERTIES }
}

/// A number that is not written as it must be.
#[derive(Debug)]
pub(super) struct Wrong;

/// A variable byte integer (section 1.5.5): "The encoded value MUST use the minimum number of bytes".
pub(super) fn variable(fields: &mut Cursor<'_>) -> Option<Result<u32, Wrong>> {
    let mut value = 0;
    for place in 0..4 {
        let byte = fields.byte()?;
        value |= u32::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(if byte == 0 && place > 0 { Err(Wrong) } else { Ok(value) });
        }
    }
    Some(Err(Wrong))
}

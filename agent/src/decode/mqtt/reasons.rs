//! Reason codes in words: MQTT 5.0, section 2.4; 3.1.1, sections 3.2.2.3 and 3.9.3.

use crate::decode::Outcome;

/// What a reason code says. The words of the server, where there are some, stand behind its own.
pub(super) fn outcome(code: u8, reason: Option<&str>) -> Outcome {
    let name = name(code);
    let message = match (name, reason) {
        (Some(name), Some(reason)) => Some(format!("{name}: {reason}")),
        (name, reason) => name.or(reason).map(str::to_owned),
    };
    let failed = code >= 0x80;
    Outcome { code: (code != 0).then(|| hexadecimal(code)), message, failed, ..Outcome::default() }
}

/// What a return code of version 3.1.1 says.
pub(super) fn refusal(code: u8) -> Outcome {
    let message = match code {
        1 => "unacceptable protocol version",
        2 => "identifier rejected",
        3 => "server unavailable",
        4 => "bad user name or password",
        5 => "not authorized",
        _ => return Outcome::default(),
    };
    let (code, message) = (Some(hexadecimal(code)), Some(message.to_owned()));
    Outcome { code, message, failed: true, ..Outcome::default() }
}

fn hexadecimal(code: u8) -> String {
    format!("0x{code:02x}")
}

const fn name(code: u8) -> Option<&'static str> {
    Some(match code {
        0x04 => "Disconnect with Will Message",
        0x10 => "No matching subscribers",
        0x11 => "No subscription existed",
        0x18 => "Continue authentication",
        0x19 => "Re-authenticate",
        0x80 => "Unspecified error",
        0x81 => "Malformed Packet",
        0x82 => "Protocol Error",
        0x83 => "Implementation specific error",
        0x84 => "Unsupported Protocol Version",
        0x85 => "Client Identifier not valid",
        0x86 => "Bad User Name or Password",
        0x87 => "Not authorized",
        0x88 => "Server unavailable",
        0x89 => "Server busy",
        0x8a => "Banned",
        0x8b => "Server shutting down",
        0x8c => "Bad authentication method",
        0x8d => "Keep Alive timeout",
        0x8e => "Session taken over",
        0x8f => "Topic Filter invalid",
        0x90 => "Topic Name invalid",
        0x91 => "Packet Identifier in use",
        0x92 => "Packet Identifier not found",
        0x93 => "Receive Maximum exceeded",
        0x94 => "Topic Alias invalid",
        0x95 => "Packet too large",
        0x96 => "Message rate too high",
        0x97 => "Quota exceeded",
        0x98 => "Administrative action",
        0x99 => "Payload format invalid",
        0x9a => "Retain not supported",
        0x9b => "QoS not supported",
        0x9c => "Use another server",
        0x9d => "Server moved",
        0x9e => "Shared Subscriptions not supported",
        0x9f => "Connection rate exceeded",
        0xa0 => "Maximum connect time",
        0xa1 => "Subscription Identifiers not supported",
        0xa2 => "Wildcard Subscriptions not supported",
        _ => return None,
    })
}

//! WebSocket messages.

use serde::Serialize;

use super::http::BodyJson;
use crate::decode::{Close, Opcode, Unreadable, WebSocket};

#[derive(Serialize)]
pub(super) struct WebSocketJson<'a> {
    opcode: Opcode,
    frames: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compressed: bool,
    body: BodyJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<Unreadable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<CloseJson<'a>>,
}

#[derive(Serialize)]
struct CloseJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> WebSocketJson<'a> {
    pub(super) fn of(websocket: &'a WebSocket, bodies: bool) -> Self {
        Self {
            opcode: websocket.opcode,
            frames: websocket.frames,
            compressed: websocket.compressed,
            body: BodyJson::of(&websocket.body, bodies),
            unreadable: websocket.unreadable,
            close: websocket
                .close
                .as_ref()
                .map(|Close { code, reason }| CloseJson { code: *code, reason: reason.as_deref() }),
        }
    }
}

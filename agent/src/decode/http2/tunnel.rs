//! WebSocket on a stream (RFC 8441): what both sides send is no body but frames, each way for itself.

use crate::{
    capture::{Call, ConnectionKey, Direction},
    decode::{
        Fields, Message, Options, Role,
        protocol::{Flow, Protocol as _},
        websocket::{Agreement, WebSockets},
    },
};

/// A stream with WebSocket on it.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Absent when what came was no WebSocket; it is counted then, as that of other tunnels.
    websockets: Option<Box<WebSockets>>,
}

impl Tunnel {
    /// What a request and the response to it agreed on.
    pub(super) fn agreed(
        options: &Options,
        who: (ConnectionKey, Role),
        stream: u32,
        (request, response): (&Fields, &Fields),
    ) -> Option<Self> {
        let asked = request.first(":method") == Some(b"CONNECT")
            && request.first(":protocol") == Some(b"websocket");
        let agreement = asked.then(|| Agreement::of_stream(response))??;
        let websockets = WebSockets::on_stream(options, who, agreement, stream);
        Some(Self { websockets: Some(Box::new(websockets)) })
    }

    /// The next bytes.
    pub(super) fn push(
        &mut self,
        call: &Call,
        at: Direction,
        bytes: &[u8],
        out: &mut Vec<Message>,
    ) {
        if let Some(websockets) = &mut self.websockets
            && let Flow::Over { .. } = websockets.push(call, at, bytes, out)
        {
            self.websockets = None;
        }
    }

    /// The next bytes were lost; 0 when nobody knows how many.
    pub(super) fn lose(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        if let Some(websockets) = &mut self.websockets {
            websockets.gap(at, length, out);
        }
    }

    /// The stream ended.
    pub(super) fn end(&mut self, out: &mut Vec<Message>) {
        if let Some(mut websockets) = self.websockets.take() {
            websockets.cut(out);
        }
    }

    /// Keeps no more of what is not complete.
    pub(super) fn give_up(&mut self) {
        self.websockets.iter_mut().for_each(|websockets| websockets.give_up(&mut Vec::new()));
    }

    /// How much memory it holds.
    pub(super) fn weight(&self) -> usize {
        self.websockets.as_ref().map_or(0, |websockets| websockets.held())
    }
}

//! WebSocket messages as lines.

use std::{
    fmt,
    io::{self, Write},
};

use super::{
    super::escape::Escaped,
    BodySize, Kind, Text, arrow,
    paint::{PLAIN, YELLOW},
};
use crate::decode::{Close, Opcode, Unreadable, WebSocket};

impl Text {
    /// Its size stands in the column of the side that sent it.
    pub(super) fn websocket(
        &self,
        websocket: &WebSocket,
        peer: &impl fmt::Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let code = websocket.close.as_ref().and_then(|close| close.code);
        // RFC 6455, section 7.4.1: 1000 is a normal closure, 1001 going away.
        let color = if matches!(code, None | Some(1000 | 1001)) { PLAIN } else { YELLOW };
        let code: &dyn fmt::Display = code.as_ref().map_or(&"", |code| code);
        let what = Kind(arrow(websocket.direction), websocket.opcode.as_str());
        write!(out, "{what}{:>6}  {:>8}  ", self.paint(color, code), "")?;
        let (size, none) = (BodySize(Some(&websocket.body)), format_args!("{:>9}", ""));
        let by_client = websocket.direction == websocket.role.requests();
        if by_client {
            self.sizes(size, none, out)?;
        } else {
            self.sizes(none, size, out)?;
        }
        writeln!(out, "websocket{}{peer}", note(websocket))?;
        if self.view.bodies && websocket.opcode != Opcode::Close {
            self.body(if by_client { '>' } else { '<' }, None, &websocket.body, out)?;
        }
        Ok(())
    }
}

fn note(websocket: &WebSocket) -> String {
    let unreadable = websocket.unreadable.map(|why| match why {
        Unreadable::ContextLost => "what it refers to was lost".to_owned(),
        Unreadable::Corrupt => "cannot be decompressed".to_owned(),
    });
    let reason = websocket.close.as_ref().and_then(|Close { reason, .. }| reason.as_ref());
    let reason = reason.map(|reason| Escaped(reason.as_bytes()).to_string());
    unreadable.or(reason).map_or(String::new(), |note| format!(" ({note})"))
}

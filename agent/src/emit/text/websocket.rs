//! WebSocket messages as lines.

use std::io::{self, Write};

use super::{
    super::{escape::Escaped, units::Size},
    Text, arrow, kind,
    paint::{PLAIN, YELLOW},
};
use crate::decode::{Close, Opcode, Unreadable, WebSocket};

impl Text {
    /// Its size stands in the column of the side that sent it.
    pub(super) fn websocket(
        &self,
        websocket: &WebSocket,
        peer: &str,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let what = kind(arrow(websocket.direction), websocket.opcode.as_str());
        let mark = if websocket.body.truncated { '~' } else { ' ' };
        let size = format!("{:>8}{mark}", Size(websocket.body.size).to_string());
        let none = format!("{:>9}", "");
        let by_client = websocket.direction == websocket.role.requests();
        let (request, response) = if by_client { (size, none) } else { (none, size) };
        let close = websocket.close.as_ref();
        let code =
            close.and_then(|close| close.code).map_or(String::new(), |code| code.to_string());
        // RFC 6455, section 7.4.1: 1000 is a normal closure, 1001 going away.
        let color = if matches!(code.as_str(), "" | "1000" | "1001") { PLAIN } else { YELLOW };
        let code = self.paint(color, format!("{code:>6}"));
        let note = note(websocket);
        let sizes = self.sizes(&request, &response);
        writeln!(out, "{what}{code}  {:>8}  {sizes}websocket{note}{peer}", "")?;
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

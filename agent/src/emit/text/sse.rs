//! Server-sent events as lines.

use std::io::{self, Write};

use super::{
    super::{escape::Escaped, units::Size},
    Text, kind, side, target,
};
use crate::decode::ServerEvent;

impl Text {
    /// As the exchange that it is of, whose status and duration are not known yet.
    pub(super) fn event(
        &self,
        event: &ServerEvent,
        peer: &str,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let what = kind(side(event.role), "event");
        let mark = if event.body.truncated { '~' } else { ' ' };
        let size = Size(event.body.size).to_string();
        let target = event.request.as_deref().map_or("(request not seen)".to_owned(), target);
        let labels = [("", &event.name), ("id ", &event.id)];
        let labels = labels.iter().filter_map(|(what, label)| {
            Some(format!("{what}{}", Escaped(label.as_ref()?.as_bytes())))
        });
        let labels: Vec<_> = labels.filter(|_| self.view.bodies).collect();
        let note = match labels.as_slice() {
            [] => String::new(),
            _ => format!(" ({})", labels.join(", ")),
        };
        let sizes = self.sizes(&format!("{:>9}", ""), &format!("{size:>8}{mark}"));
        writeln!(out, "{what}{:>6}  {:>8}  {sizes}{target}{note}{peer}", "", "")?;
        if self.view.bodies {
            self.body('<', None, &event.body, out)?;
        }
        Ok(())
    }
}

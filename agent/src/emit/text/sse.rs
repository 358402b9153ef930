//! Server-sent events as lines.

use std::{
    fmt,
    io::{self, Write},
};

use super::{super::escape::Escaped, BodySize, Kind, Target, Text, side};
use crate::decode::ServerEvent;

impl Text {
    /// As the exchange that it is of, whose status and duration are not known yet.
    pub(super) fn event(
        &self,
        event: &ServerEvent,
        peer: &impl fmt::Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let labels = [("", &event.name), ("id ", &event.id)];
        let labels = labels.iter().filter_map(|(what, label)| {
            Some(format!("{what}{}", Escaped(label.as_ref()?.as_bytes())))
        });
        let labels: Vec<_> = labels.filter(|_| self.view.bodies).collect();
        let note = match labels.as_slice() {
            [] => String::new(),
            _ => format!(" ({})", labels.join(", ")),
        };
        write!(out, "{}{:>6}  {:>8}  ", Kind(side(event.role), "event"), "", "")?;
        self.sizes(format_args!("{:>9}", ""), BodySize(Some(&event.body)), out)?;
        writeln!(out, "{}{note}{peer}", Target(event.request.as_deref()))?;
        if self.view.bodies {
            self.body('<', None, &event.body, out)?;
        }
        Ok(())
    }
}

//! Packets of the server: how far the answer to the oldest command is.

use super::{
    Mysql, Phase,
    fields::{Fields, error, ok, text},
    packets::Packet,
};
use crate::{
    capture::Call,
    decode::{Message, pending::Queue},
};

const MORE_RESULTS: u64 = 0x8;
const CURSOR_EXISTS: u64 = 0x40;
/// No packet of rows, which may be longer, begins so.
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

impl Mysql {
    /// Whether the connection can be followed further.
    pub(super) fn answered(
        &mut self,
        awaiting: &mut Queue<Phase>,
        call: &Call,
        packet: &Packet,
        out: &mut Vec<Message>,
    ) -> bool {
        let first = packet.payload.first().copied();
        let is_eof = first == Some(EOF) && packet.length == 5;
        let Some(front) = awaiting.front_mut() else {
            // Behind a prepared statement, if the client did not say that it wants none.
            return is_eof && self.may_end_late;
        };
        let fresh = front.pending.operation.response_size == 0;
        if fresh && packet.sequence != 1 && front.note != Phase::Authentication {
            return is_eof && self.may_end_late;
        }
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(packet.size);
        operation.truncated |= packet.lost;
        let outcome = operation.outcome.get_or_insert_default();
        let phase = front.note;
        if first == Some(ERR) && !matches!(phase, Phase::Columns(_) | Phase::Definitions(..)) {
            let (returned, affected) = (outcome.returned, outcome.affected);
            *outcome = error(&packet.payload);
            (outcome.returned, outcome.affected) = (returned, affected);
            awaiting.end_front(Some(call), out);
            return true;
        }
        match (phase, first) {
            (Phase::Authentication, Some(0)) => {
                awaiting.end_front(Some(call), out);
                return !self.compresses;
            }
            // More of the exchange, or another method.
            (Phase::Authentication, Some(1 | EOF)) => return true,
            (Phase::Text, _) => {
                outcome.message = Some(text(&packet.payload));
                awaiting.end_front(Some(call), out);
                return true;
            }
            _ => {}
        }
        self.results(awaiting, call, packet, out).is_some()
    }

    fn results(
        &mut self,
        awaiting: &mut Queue<Phase>,
        call: &Call,
        packet: &Packet,
        out: &mut Vec<Message>,
    ) -> Option<()> {
        let first = packet.payload.first().copied();
        let is_eof = first == Some(EOF) && packet.length == 5;
        let deprecates = self.deprecates_eof;
        let front = awaiting.front_mut()?;
        let outcome = front.pending.operation.outcome.get_or_insert_default();
        match front.note {
            Phase::First if first == Some(0) => {
                let (affected, status) = ok(&packet.payload)?;
                outcome.affected = Some(outcome.affected.unwrap_or(0).saturating_add(affected));
                next_result(awaiting, status, call, out);
            }
            // COM_SET_OPTION and COM_DEBUG.
            Phase::First if is_eof => awaiting.end_front(Some(call), out),
            // LOCAL INFILE: the client sends the file, an OK_Packet follows.
            Phase::First if first == Some(0xfb) => {}
            Phase::First => {
                let mut fields = Fields(&packet.payload);
                let columns = fields.length().filter(|columns| (1..=65_535).contains(columns))?;
                outcome.returned.get_or_insert(0);
                // MariaDB: whether the columns are sent, or are as before.
                front.note = match fields.0 {
                    [] | [1] => Phase::Columns(columns),
                    [0] => Phase::AfterColumns,
                    _ => return None,
                };
            }
            Phase::Columns(left) => {
                front.note = if left > 1 { Phase::Columns(left - 1) } else { Phase::AfterColumns };
            }
            Phase::AfterColumns if is_eof && deprecates != Some(true) => {
                self.deprecates_eof = Some(false);
                front.note = Phase::Rows;
                let mut fields = Fields(packet.payload.get(3..)?);
                if fields.int(2)? & CURSOR_EXISTS != 0 {
                    awaiting.end_front(Some(call), out);
                }
            }
            Phase::AfterColumns => {
                if deprecates == Some(false) {
                    return None;
                }
                self.deprecates_eof = Some(true);
                front.note = Phase::Rows;
                return self.results(awaiting, call, packet, out);
            }
            Phase::Rows if first == Some(EOF) && packet.length < 0xff_ffff => {
                let status = match deprecates {
                    Some(true) => ok(&packet.payload)?.1,
                    _ if is_eof => Fields(packet.payload.get(3..)?).int(2)?,
                    _ => return None,
                };
                next_result(awaiting, status, call, out);
            }
            Phase::Rows => outcome.returned = Some(outcome.returned.unwrap_or(0).saturating_add(1)),
            Phase::Prepare if first == Some(0) => {
                let mut fields = Fields(packet.payload.get(1..)?);
                let (id, columns, parameters) = (fields.int(4)?, fields.int(2)?, fields.int(2)?);
                self.prepared(awaiting, id, usize::try_from(parameters).ok()?);
                self.definitions(awaiting, parameters, columns, call, out);
            }
            Phase::Definitions(parameters, columns) => {
                if is_eof {
                    self.deprecates_eof = Some(false);
                    return Some(());
                }
                let (parameters, columns) = match parameters {
                    0 => (0, columns.checked_sub(1)?),
                    _ => (parameters - 1, columns),
                };
                self.definitions(awaiting, parameters, columns, call, out);
            }
            Phase::Prepare | Phase::Authentication | Phase::Text => return None,
        }
        Some(())
    }

    fn definitions(
        &mut self,
        awaiting: &mut Queue<Phase>,
        parameters: u64,
        columns: u64,
        call: &Call,
        out: &mut Vec<Message>,
    ) {
        if parameters + columns == 0 {
            // The packet that ends them may follow.
            self.may_end_late = self.deprecates_eof != Some(true);
            awaiting.end_front(Some(call), out);
        } else if let Some(front) = awaiting.front_mut() {
            front.note = Phase::Definitions(parameters, columns);
        }
    }
}

fn next_result(awaiting: &mut Queue<Phase>, status: u64, call: &Call, out: &mut Vec<Message>) {
    if status & MORE_RESULTS == 0 {
        awaiting.end_front(Some(call), out);
    } else if let Some(front) = awaiting.front_mut() {
        front.note = Phase::First;
    }
}

//! Packets of the client: commands, and what they execute.

use super::{
    Mysql, Phase, Statement,
    fields::{Fields, text},
    packets::Packet,
    values,
};
use crate::decode::{
    System,
    pending::{Pending, Queue, TEXT_LIMIT},
    postgresql::first_word,
};

const STATEMENTS_LIMIT: usize = 1024;
const STATEMENTS_BYTES: usize = 1 << 20;

impl Mysql {
    /// Whether the connection can be followed further.
    pub(super) fn request(&mut self, awaiting: &mut Queue<Phase>, packet: &Packet) -> bool {
        let (began, size) = (packet.began, packet.size);
        // What goes on: authentication, a file.
        if packet.sequence != 0 && !awaiting.is_empty() {
            if let Some(front) = awaiting.front_mut() {
                let of = &mut front.pending.operation.request_size;
                *of = of.saturating_add(size);
            }
            return true;
        }
        let mut pending = Pending::request(System::Mysql, awaiting.role, began, size);
        pending.operation.truncated = !packet.whole;
        let phase = if packet.sequence == 0 {
            match self.command(packet, &mut pending) {
                Some(Asked::Answered(phase)) => phase,
                Some(Asked::Silent) => return true,
                None => return false,
            }
        } else {
            self.handshake(packet, &mut pending);
            Phase::Authentication
        };
        self.pipelines |= !awaiting.is_empty();
        awaiting.push(pending, phase)
    }

    fn handshake(&mut self, packet: &Packet, pending: &mut Pending) {
        let operation = &mut pending.operation;
        operation.name = Some("HandshakeResponse41".to_owned());
        let mut line = "HandshakeResponse41".to_owned();
        let mut fields = Fields(&packet.payload);
        if let Some(flags) = fields.int(4) {
            self.deprecates_eof = Some(flags & super::CLIENT_DEPRECATE_EOF != 0);
            self.compresses = flags & super::CLIENT_COMPRESSED != 0;
        }
        if let Some(user) = fields.take(28).and_then(|_| fields.string()) {
            line.push_str(&format!(" user={}", text(user)));
        }
        operation.text = Some(line);
    }

    /// `None` for what cannot be followed.
    fn command(&mut self, packet: &Packet, pending: &mut Pending) -> Option<Asked> {
        let (&command, body) = packet.payload.split_first()?;
        let operation = &mut pending.operation;
        let mut fields = Fields(body);
        let name = match command {
            0x01 => return Some(Asked::Silent),
            0x02 => "COM_INIT_DB",
            0x03 => {
                // CLIENT_QUERY_ATTRIBUTES: the number of attributes, and 1, before the text.
                let sql = match body {
                    [0, 1, sql @ ..] => sql,
                    [count, 1, ..] if *count < b'\t' => &[],
                    sql => sql,
                };
                operation.truncated |=
                    sql.len() > TEXT_LIMIT || (sql.is_empty() && !body.is_empty());
                let sql = text(sql);
                operation.name = first_word(&sql);
                operation.text = Some(sql);
                return Some(Asked::Answered(Phase::First));
            }
            0x09 => {
                operation.name = Some("COM_STATISTICS".to_owned());
                return Some(Asked::Answered(Phase::Text));
            }
            0x0d => "COM_DEBUG",
            0x0e => "COM_PING",
            0x11 => {
                let user = fields.string().map(text).unwrap_or_default();
                operation.name = Some("COM_CHANGE_USER".to_owned());
                operation.text = Some(format!("COM_CHANGE_USER user={user}"));
                return Some(Asked::Answered(Phase::Authentication));
            }
            0x16 => {
                operation.truncated |= body.len() > TEXT_LIMIT;
                operation.name = Some("COM_STMT_PREPARE".to_owned());
                operation.text = Some(text(body));
                return Some(Asked::Answered(Phase::Prepare));
            }
            0x17 => {
                self.execute(&mut fields, pending);
                return Some(Asked::Answered(Phase::First));
            }
            0x18 => {
                let id = fields.int(4)?;
                if let Some(statement) = self.statements.get_mut(&id) {
                    statement.long = true;
                }
                return Some(Asked::Silent);
            }
            0x19 => {
                self.statements.remove(&fields.int(4)?);
                return Some(Asked::Silent);
            }
            0x1a => {
                let id = fields.int(4)?;
                if let Some(statement) = self.statements.get_mut(&id) {
                    statement.long = false;
                }
                "COM_STMT_RESET"
            }
            0x1b => "COM_SET_OPTION",
            0x1c => {
                operation.name = Some("COM_STMT_FETCH".to_owned());
                return Some(Asked::Answered(Phase::Rows));
            }
            0x1f => "COM_RESET_CONNECTION",
            _ => return None,
        };
        operation.name = Some(name.to_owned());
        operation.text = (command == 0x02).then(|| text(body));
        Some(Asked::Answered(Phase::First))
    }

    fn execute(&mut self, fields: &mut Fields<'_>, pending: &mut Pending) {
        let operation = &mut pending.operation;
        operation.name = Some("COM_STMT_EXECUTE".to_owned());
        let Some(statement) = fields.int(4).and_then(|id| self.statements.get_mut(&id)) else {
            return;
        };
        operation.name = first_word(&statement.sql).or(operation.name.take());
        operation.text = Some(statement.sql.clone());
        operation.truncated |= statement.cut;
        if statement.parameters == 0 {
            return;
        }
        let values = if std::mem::take(&mut statement.long) {
            None
        } else {
            values::read(fields, statement.parameters, &mut statement.types)
        };
        operation.truncated |= values.is_none();
        operation.parameters = values.unwrap_or_default();
    }

    /// A statement got a number.
    pub(super) fn prepared(&mut self, awaiting: &Queue<Phase>, id: u64, parameters: usize) {
        let Some(front) = awaiting.front() else { return };
        let bytes: usize = self.statements.values().map(|known| known.sql.len()).sum();
        if self.statements.len() >= STATEMENTS_LIMIT || bytes > STATEMENTS_BYTES {
            self.statements.clear();
        }
        let operation = &front.pending.operation;
        let sql = operation.text.clone().unwrap_or_default();
        let (cut, types) = (operation.truncated, Vec::new());
        self.statements.insert(id, Statement { sql, parameters, types, cut, long: false });
    }
}

enum Asked {
    Answered(Phase),
    Silent,
}

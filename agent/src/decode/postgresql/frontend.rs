//! Messages of the client.

use super::{
    Asked, Kind, Postgresql,
    fields::{Fields, first_word, text},
    frames,
    probe::CANCEL,
    statements::{Statement, Undo},
};
use crate::decode::{
    Message, System,
    frames::Frame,
    pending::{Pending, Queue, TEXT_LIMIT},
};

impl Postgresql {
    /// Whether the connection can be followed further.
    pub(super) fn message(
        &mut self,
        awaiting: &mut Queue<Asked>,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        let kind = match frames::kind(frame) {
            0 => return self.begin(awaiting, frame, out),
            b'p' => Kind::Authentication,
            b'Q' | b'F' => Kind::Query,
            b'P' => Kind::Parse,
            b'B' => Kind::Bind,
            b'D' => Kind::Describe,
            b'C' => Kind::Close,
            b'E' => Kind::Execute,
            // "The backend will ignore Flush and Sync messages received during copy-in mode."
            b'S' if self.copies_in => return true,
            b'S' => Kind::Sync,
            b'd' | b'c' | b'f' => {
                self.copies_in &= frames::kind(frame) == b'd';
                if let Some(front) = awaiting.front_mut() {
                    let size = &mut front.pending.operation.request_size;
                    *size = size.saturating_add(frame.size);
                    front.pending.operation.truncated |= frame.lost;
                }
                return true;
            }
            // Flush, Terminate.
            _ => return true,
        };
        let mut pending =
            Pending::request(System::Postgresql, awaiting.role, frame.began, frame.size);
        pending.operation.truncated = !frame.whole && kind != Kind::Authentication || frame.lost;
        let undo = self.read(awaiting, kind, frame, &mut pending);
        if undo.is_none() && matches!(kind, Kind::Parse | Kind::Bind | Kind::Close) {
            // Some name has got another meaning, nobody knows which.
            self.forget(awaiting);
        }
        self.wait(awaiting, pending, Asked { kind, undo })
    }

    fn begin(
        &mut self,
        awaiting: &mut Queue<Asked>,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        let mut pending =
            Pending::request(System::Postgresql, awaiting.role, frame.began, frame.size);
        let mut fields = Fields(&frame.body);
        if fields.take(4) == Some(&CANCEL) {
            // It has no answer, and its key is a secret.
            pending.operation.name = Some("CancelRequest".to_owned());
            pending.operation.text = Some("CancelRequest".to_owned());
            awaiting.tell(pending, None, out);
            return true;
        }
        let mut line = "StartupMessage".to_owned();
        while let Some(name) = fields.string().filter(|name| !name.is_empty()) {
            let value = fields.string().unwrap_or_default();
            line.push_str(&format!(" {}={}", text(name), text(value)));
        }
        pending.operation.name = Some("StartupMessage".to_owned());
        pending.operation.text = Some(line);
        self.wait(awaiting, pending, Asked { kind: Kind::Authentication, undo: None })
    }

    fn wait(&mut self, awaiting: &mut Queue<Asked>, mut pending: Pending, asked: Asked) -> bool {
        let ready = |kind| matches!(kind, Kind::Query | Kind::Sync);
        if ready(asked.kind) {
            self.pipelines |= awaiting.notes().any(|before| ready(before.kind));
        }
        pending.quiet = !matches!(asked.kind, Kind::Query | Kind::Execute | Kind::Authentication);
        awaiting.push(pending, asked)
    }

    /// Fills in what a message says, and takes note of names.
    fn read(
        &mut self,
        awaiting: &mut Queue<Asked>,
        kind: Kind,
        frame: &Frame,
        pending: &mut Pending,
    ) -> Option<Undo> {
        let operation = &mut pending.operation;
        let mut fields = Fields(&frame.body);
        match kind {
            Kind::Authentication => {
                operation.name = Some("PasswordMessage".to_owned());
                operation.text = operation.name.clone();
            }
            Kind::Query if frames::kind(frame) == b'F' => {
                operation.name = Some("FunctionCall".to_owned());
                operation.target = fields.int32().map(|oid| oid.cast_unsigned().to_string());
            }
            Kind::Query => {
                // Cut off it has no end.
                let sql = fields.string().unwrap_or(&frame.body);
                operation.truncated |= sql.len() > TEXT_LIMIT;
                let sql = text(sql);
                operation.name = first_word(&sql);
                self.forget_named_by(awaiting, &sql);
                operation.text = Some(sql);
            }
            Kind::Parse => {
                let name = fields.string()?;
                let sql = fields.string().unwrap_or(fields.0);
                let cut = !frame.whole || sql.len() > TEXT_LIMIT;
                let sql = text(sql);
                operation.name = Some("Parse".to_owned());
                operation.text = Some(sql.clone());
                let statement = Statement { sql: Some(sql.into()), cut, ..Statement::default() };
                return Some(self.statements.set((b'S', name.into()), Some(statement)));
            }
            Kind::Bind => {
                let (portal, name) = (fields.string()?, fields.string()?);
                let known = self.statements.find(b'S', name).cloned().unwrap_or_default();
                let (parameters, whole) = fields.parameters();
                operation.name = Some("Bind".to_owned());
                operation.text = known.sql.as_deref().map(str::to_owned);
                operation.parameters.clone_from(&parameters);
                operation.truncated |= known.cut || !whole;
                let cut = operation.truncated;
                let bound = Statement { parameters: parameters.into(), cut, ..known };
                return Some(self.statements.set((b'P', portal.into()), Some(bound)));
            }
            Kind::Execute => {
                let portal = fields.string()?;
                let known = self.statements.find(b'P', portal).cloned().unwrap_or_default();
                operation.name = known.sql.as_deref().and_then(first_word);
                operation.text = known.sql.as_deref().map(str::to_owned);
                operation.parameters = known.parameters.to_vec();
                operation.truncated |= known.cut;
                if let Some(sql) = &known.sql {
                    self.forget_named_by(awaiting, sql);
                }
            }
            Kind::Close => {
                operation.name = Some("Close".to_owned());
                let kind = *fields.take(1)?.first()?;
                return Some(self.statements.set((kind, fields.string()?.into()), None));
            }
            Kind::Describe => operation.name = Some("Describe".to_owned()),
            Kind::Sync => {}
        }
        None
    }

    /// SQL has statements of its own that give names.
    fn forget_named_by(&mut self, awaiting: &mut Queue<Asked>, sql: &str) {
        let named = ["PREPARE", "DEALLOCATE", "DISCARD"];
        let has = |word: &str| {
            sql.as_bytes()
                .windows(word.len())
                .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        };
        if sql.len() >= TEXT_LIMIT || named.into_iter().any(has) {
            self.forget(awaiting);
        }
    }

    /// No name has a known meaning, nor had one before.
    fn forget(&mut self, awaiting: &mut Queue<Asked>) {
        self.statements.clear();
        awaiting.notes().for_each(|asked| asked.undo = None);
    }
}

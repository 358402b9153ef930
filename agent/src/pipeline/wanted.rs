//! Which records are shown, of those that the filters on processes leave.

use crate::{capture::ConnectionKey, emit, enrich::Record, expression::Expression};

/// All of it must hold; what is absent does.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// What must hold for its fields.
    pub expression: Option<Expression>,
    /// The connection that it must be of.
    pub connection: Option<ConnectionKey>,
}

impl Wanted {
    /// Whether all records are.
    pub(super) const fn is_all(&self) -> bool {
        self.expression.is_none() && self.connection.is_none()
    }

    /// Whether a record is.
    pub(super) fn has(&self, record: &Record) -> bool {
        let message = &record.message;
        if self.connection.is_some_and(|connection| connection != message.connection) {
            return false;
        }
        // Another thread may have ended what was shown; the writer knows what it was.
        let Some(expression) = self.expression.as_ref().filter(|_| !message.is_end()) else {
            return true;
        };
        emit::fields(record).is_some_and(|fields| expression.holds(fields))
    }
}

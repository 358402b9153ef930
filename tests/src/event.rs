//! The agent's JSON lines: picking them out and holding them against what must be there.
//!
//! Fields are named by JSON pointer (`/http/request/method`).

use anyhow::{Result, ensure};
use serde_json::Value;

/// A text field.
pub fn text<'a>(event: &'a Value, field: &str) -> Option<&'a str> {
    event.pointer(field).and_then(Value::as_str)
}

/// A whole, non-negative number field.
pub fn number(event: &Value, field: &str) -> Option<u64> {
    event.pointer(field).and_then(Value::as_u64)
}

/// The events of a type.
pub fn of_type<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| text(event, "/type") == Some(kind))
}

/// The HTTP exchanges of a container.
pub fn exchanges<'a>(events: &'a [Value], container: &'a str) -> Vec<&'a Value> {
    of_type(events, "http")
        .filter(|event| text(event, "/container/name") == Some(container))
        .collect()
}

/// Holds fields against their values; the error lists all that differ.
pub fn expect(event: &Value, fields: &[(&str, Value)]) -> Result<()> {
    let wrong: Vec<_> = fields
        .iter()
        .filter(|(field, value)| event.pointer(field) != Some(value))
        .map(|(field, value)| match event.pointer(field) {
            Some(found) => format!("{field}: {found}, not {value}"),
            None => format!("{field}: absent, not {value}"),
        })
        .collect();
    ensure!(wrong.is_empty(), "{}\nin {event}", wrong.join("\n"));
    Ok(())
}

/// Holds a field to be absent.
pub fn absent(event: &Value, field: &str) -> Result<()> {
    ensure!(event.pointer(field).is_none(), "{field} must be absent in {event}");
    Ok(())
}

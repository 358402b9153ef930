//! The document that answers a command in, its outcome out.

use super::bson::{Element, Elements, End};
use crate::decode::Outcome;

/// What is said of a failure: of the command, of one of its writes, of how far these are kept safe.
#[derive(Debug, Default)]
struct Failure {
    code: Option<i64>,
    name: Option<String>,
    message: Option<String>,
}

/// What an answer says, and whether all of it was there. Without an outcome it is not known how it
/// ended.
pub(super) fn outcome(command: Option<&str>, document: &[u8]) -> (Option<Outcome>, bool) {
    let (mut own, mut other) = (Failure::default(), None);
    let (mut ok, mut outcome) = (None, Outcome::default());
    let mut written = [None; 3];
    let (mut whole, mut has_cursor) = (true, false);
    let mut elements = Elements::of(document);
    for element in &mut elements {
        match element.name {
            "ok" => ok = element.integer(),
            "code" => own.code = element.integer(),
            "codeName" => own.name = element.text().map(str::to_owned),
            "errmsg" => own.message = element.text().map(str::to_owned),
            // Of a query from before `OP_MSG` that failed.
            "$err" => (ok, own.message) = (Some(0), element.text().map(str::to_owned)),
            "cursor" => {
                has_cursor = true;
                outcome.returned = batch(&element, &mut whole);
            }
            "values" if command == Some("distinct") => {
                outcome.returned = count(&element, &mut whole)
            }
            "n" => written[0] = element.integer(),
            "nModified" => written[1] = element.integer(),
            "upserted" => written[2] = count(&element, &mut whole).and_then(|n| n.try_into().ok()),
            "writeErrors" => {
                let first = element.elements().and_then(|mut errors| errors.next());
                other = other.or(first.as_ref().map(failure));
            }
            "writeConcernError" => other = other.or(Some(failure(&element))),
            _ => {}
        }
    }
    whole &= elements.end == End::Whole;
    outcome.affected = match (command, written) {
        (Some("insert" | "delete"), [Some(count), ..]) => u64::try_from(count).ok(),
        (Some("update"), [_, Some(count), upserted]) => {
            u64::try_from(count.saturating_add(upserted.unwrap_or(0))).ok()
        }
        _ => None,
    };
    // A failure has no cursor.
    let known = ok.is_some() || has_cursor || whole;
    let failed = if ok == Some(0) { Some(own) } else { other };
    if let Some(failure) = failed {
        outcome.failed = true;
        outcome.code = failure.code.map(|code| code.to_string());
        outcome.message = match (failure.name, failure.message) {
            (Some(name), Some(message)) => Some(format!("({name}) {message}")),
            (Some(name), None) => Some(format!("({name})")),
            (None, message) => message,
        };
    }
    (known.then_some(outcome), whole)
}

fn failure(element: &Element<'_>) -> Failure {
    let mut failure = Failure::default();
    for member in element.elements().into_iter().flatten() {
        match member.name {
            "code" => failure.code = member.integer(),
            "codeName" => failure.name = member.text().map(str::to_owned),
            "errmsg" => failure.message = member.text().map(str::to_owned),
            _ => {}
        }
    }
    failure
}

/// How many documents a cursor gives.
fn batch(cursor: &Element<'_>, whole: &mut bool) -> Option<u64> {
    let mut members = cursor.elements()?;
    let batch = members.find(|member| matches!(member.name, "firstBatch" | "nextBatch"));
    batch.and_then(|batch| count(&batch, whole))
}

/// How many elements an array has; `None` when they are not all there.
fn count(array: &Element<'_>, whole: &mut bool) -> Option<u64> {
    let mut elements = array.elements()?;
    let count = elements.by_ref().count() as u64;
    *whole &= elements.end == End::Whole;
    (elements.end == End::Whole).then_some(count)
}

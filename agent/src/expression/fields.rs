//! Which fields records can have: the JSON Schema of the output says it.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // It is ours; a test reads it.
    serde_json::from_str(include_str!("../../../docs/tlstap-v1.schema.json")).unwrap_or_default()
});

/// Fields of records that have fields of their own.
static OBJECTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let records = expand(&SCHEMA);
    let properties = records.iter().filter_map(|record| record.get("properties")?.as_object());
    let objects = properties.flatten().filter(|(_, schema)| {
        expand(schema).iter().any(|schema| schema.get("properties").is_some())
    });
    let mut names: Vec<_> = objects.map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    names
});

pub(super) fn is_object(name: &str) -> bool {
    OBJECTS.iter().any(|object| object == name)
}

/// How many names of a path, from its beginning, are those of fields.
pub(super) fn known<'a>(path: impl Iterator<Item = &'a str>) -> usize {
    let mut schemas = expand(&SCHEMA);
    let mut known = 0;
    for name in path {
        schemas = schemas.into_iter().flat_map(|schema| members(schema, name)).collect();
        if schemas.is_empty() {
            return known;
        }
        known += 1;
    }
    known
}

/// The schemas that a member of this name can have.
fn members(schema: &'static Value, name: &str) -> Vec<&'static Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let any = patterns.into_iter().flat_map(|patterns| patterns.values());
    let any = any.chain(schema.get("additionalProperties").filter(|schema| schema.is_object()));
    named.map_or_else(|| any.flat_map(expand).collect(), expand)
}

/// A schema without references and alternatives.
fn expand(schema: &'static Value) -> Vec<&'static Value> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let place = name.trim_start_matches('#');
        return SCHEMA.pointer(place).map_or(Vec::new(), expand);
    }
    let mut all = vec![schema];
    for word in ["oneOf", "anyOf", "allOf"] {
        let others = schema.get(word).and_then(Value::as_array).into_iter().flatten();
        all.extend(others.flat_map(expand));
    }
    all
}

//! The promise to users: every record that the agent prints is held against the JSON Schema.

use std::{fs, path::Path, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, ensure};
use jsonschema::Validator;
use serde_json::Value;

/// A line of stdout as a record of the schema.
pub fn record(line: &str) -> Result<Value> {
    let record = serde_json::from_str(line)
        .with_context(|| format!("a line of stdout is no JSON: {line:?}"))?;
    let errors: Vec<_> = validator()?.iter_errors(&record).map(|e| e.to_string()).collect();
    // Of a mebibyte of plaintext the beginning will do.
    let shown = |text: &str| text.chars().take(2_000).collect::<String>();
    ensure!(
        errors.is_empty(),
        "a line breaks the schema: {}: {}",
        shown(line),
        shown(&errors.join("; "))
    );
    Ok(record)
}

fn validator() -> Result<&'static Validator> {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    if let Some(validator) = VALIDATOR.get() {
        return Ok(validator);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tlstap-v1.schema.json");
    let schema = fs::read_to_string(path).context("failed to read the schema")?;
    let schema = serde_json::from_str(&schema).context("the schema is no JSON")?;
    let validator = jsonschema::validator_for(&schema)
        .map_err(|error| anyhow!("the schema is no schema: {error}"))?;
    Ok(VALIDATOR.get_or_init(|| validator))
}

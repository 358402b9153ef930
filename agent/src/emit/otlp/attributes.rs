//! What a record is in JSON, as attributes of OpenTelemetry: dots in place of nesting.

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any,
};
use serde_json::{Map, Number, Value};

/// Bytes of a text that are kept; the rest is cut off. A collector takes 4 MiB for a whole request
/// if nobody tells it otherwise.
const TEXT: usize = 64 << 10;

/// One attribute.
pub(super) fn attribute(key: impl Into<String>, value: impl Into<Value>) -> KeyValue {
    KeyValue { key: key.into(), value: Some(any(value.into())), ..KeyValue::default() }
}

/// All members of an object, and of the objects in it, behind a name with its dot.
pub(super) fn flatten(prefix: &str, object: Map<String, Value>, out: &mut Vec<KeyValue>) {
    for (name, value) in object {
        let key = [prefix, &name].concat();
        match value {
            Value::Object(inner) => flatten(&(key + "."), inner, out),
            value => out.push(attribute(key, value)),
        }
    }
}

/// The text of an attribute, where it is one.
pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: kind(value) }
}

/// OTLP has null as a value that is not there.
fn kind(value: Value) -> Option<Any> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => Any::BoolValue(value),
        Value::Number(number) => numeric(&number),
        Value::String(text) => Any::StringValue(cut(text)),
        Value::Array(values) => {
            Any::ArrayValue(ArrayValue { values: values.into_iter().map(any).collect() })
        }
        Value::Object(object) => {
            let mut values = Vec::with_capacity(object.len());
            flatten("", object, &mut values);
            Any::KvlistValue(KeyValueList { values })
        }
    })
}

/// OTLP has no unsigned numbers: one that is too large is the largest there is.
fn numeric(number: &Number) -> Any {
    match (number.as_i64(), number.as_u64()) {
        (Some(number), _) => Any::IntValue(number),
        (None, Some(_)) => Any::IntValue(i64::MAX),
        (None, None) => Any::DoubleValue(number.as_f64().unwrap_or(f64::NAN)),
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_members_have_dots() {
        let value = json!({"a": {"b": {"c": 1}, "d.e": ["x", "y"]}, "f": null, "g": true,
            "h": u64::MAX, "i": -1, "j": 0.5, "k": [{"l": {"m": "n"}}]});
        let Value::Object(object) = value else { panic!("no object") };
        let mut out = Vec::new();
        flatten("", object, &mut out);
        let found = |key: &str| {
            let found: Vec<_> = out.iter().filter(|attribute| attribute.key == key).collect();
            assert_eq!(found.len(), 1, "{key}");
            found[0].value.clone().unwrap().value
        };
        assert_eq!(out.len(), 8);
        assert_eq!(found("a.b.c"), Some(Any::IntValue(1)));
        assert_eq!(found("f"), None);
        assert_eq!(found("g"), Some(Any::BoolValue(true)));
        assert_eq!(found("h"), Some(Any::IntValue(i64::MAX)));
        assert_eq!(found("i"), Some(Any::IntValue(-1)));
        assert_eq!(found("j"), Some(Any::DoubleValue(0.5)));
        let Some(Any::ArrayValue(array)) = found("a.d.e") else { panic!("no array") };
        assert_eq!(array.values, [any("x".into()), any("y".into())]);
        let Some(Any::ArrayValue(array)) = found("k") else { panic!("no array") };
        let Some(Any::KvlistValue(list)) = &array.values[0].value else { panic!("no object") };
        assert_eq!(text(&list.values, "l.m"), Some("n"));
        assert_eq!((text(&out, "g"), text(&out, "z")), (None, None));
    }

    #[test]
    fn a_long_text_is_cut_between_its_letters() {
        let long = format!("a{}", "\u{e9}".repeat(TEXT));
        let cut = attribute("key", long);
        let cut = text(std::slice::from_ref(&cut), "key").unwrap();
        assert_eq!(cut.len(), TEXT - 1);
    }
}

//! JSON as it was sent in, the same over several lines out: every token stays as it is.

use serde::de::IgnoredAny;

use super::{
    super::escape::Escaped,
    paint::{CYAN, Color, GREEN, PLAIN, Painted},
};

/// The lines of an object or array with something in it; `None` when the text is none.
pub(super) fn lines(text: &str, color: bool) -> Option<Vec<String>> {
    let text = text.trim_ascii();
    // The parser bounds how deep it is.
    if !text.starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let mut lines = Lines { done: Vec::new(), line: String::new(), depth: 0, color };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = token(rest, first);
        let (token, behind) = rest.split_at_checked(length)?;
        rest = behind.trim_ascii_start();
        match first {
            // Nothing in it: it stays on its line.
            '{' | '[' if rest.starts_with(['}', ']']) => {
                lines.line.push(first);
                lines.line.extend(rest.chars().next());
                rest = rest.get(1..).unwrap_or_default().trim_ascii_start();
            }
            '{' | '[' => {
                lines.line.push(first);
                lines.depth += 1;
                lines.next();
            }
            '}' | ']' => {
                lines.depth = lines.depth.saturating_sub(1);
                lines.next();
                lines.line.push(first);
            }
            ',' => {
                lines.line.push(first);
                lines.next();
            }
            ':' => lines.line.push_str(": "),
            '"' if rest.starts_with(':') => lines.push(CYAN, token),
            '"' => lines.push(GREEN, token),
            _ => lines.push(PLAIN, token),
        }
    }
    lines.next();
    Some(lines.done)
}

struct Lines {
    done: Vec<String>,
    line: String,
    depth: usize,
    color: bool,
}

impl Lines {
    fn next(&mut self) {
        let next = "  ".repeat(self.depth);
        self.done.push(std::mem::replace(&mut self.line, next));
    }

    fn push(&mut self, color: Color, token: &str) {
        // The backslash of an escape is JSON's own, and what it escapes is no control character.
        let mut parts = token.split('\\').map(|part| Escaped(part.as_bytes()).to_string());
        let mut text = parts.next().unwrap_or_default();
        parts.for_each(|part| text = format!("{text}\\{part}"));
        let color = if self.color { color } else { PLAIN };
        self.line += &Painted { color, what: text }.to_string();
    }
}

/// How long the first token is.
fn token(text: &str, first: char) -> usize {
    match first {
        '{' | '}' | '[' | ']' | ',' | ':' => 1,
        '"' => {
            let mut escaped = false;
            let end = text.bytes().skip(1).position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            end.map_or(text.len(), |end| end + 2)
        }
        _ => {
            text.find(|c: char| c.is_ascii_whitespace() || ",:]}".contains(c)).unwrap_or(text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_as_they_are() {
        let text =
            r#" {"b":1.50e400, "a" : [ true,null,{ } ,[]],"s":"x\"\\,:\u0041é{","e":{"f":-0}} "#;
        let expect = [
            "{",
            "  \"b\": 1.50e400,",
            "  \"a\": [",
            "    true,",
            "    null,",
            "    {},",
            "    []",
            "  ],",
            r#"  "s": "x\"\\,:\u0041é{","#,
            "  \"e\": {",
            "    \"f\": -0",
            "  }",
            "}",
        ];
        assert_eq!(lines(text, false).unwrap(), expect);
        assert_eq!(lines("[]", false).unwrap(), ["[]"]);
        for none in ["", "7", "\"a\"", "{", "[1,]", "{\"a\":****}", "[1] 2"] {
            assert_eq!(lines(none, false), None, "{none}");
        }
        assert_eq!(lines(&"[".repeat(100_000), false), None);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        let shown = lines("[\"\u{9b}31m \u{202e} \u{7f}\"]", false).unwrap().concat();
        assert_eq!(shown, "[  \"\\u{9b}31m \\u{202e} \\u{7f}\"]");
        let colored = lines("{\"a\":\"b\"}", true).unwrap();
        assert_eq!(colored[1], "  \u{1b}[36m\"a\"\u{1b}[0m: \u{1b}[32m\"b\"\u{1b}[0m");
    }
}

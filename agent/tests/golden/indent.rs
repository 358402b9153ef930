//! A line of JSON in, the same indented out: nothing else about it changes, neither the order of
//! the fields nor how a string is escaped.

pub(crate) fn of(line: &str) -> String {
    let mut out = String::new();
    // How many objects are open, for each whether it is in an array, and so stays on its line.
    let mut depth = 0;
    let mut arrays = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut previous = ' ';
    for c in line.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            previous = c;
            continue;
        }
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '[' => arrays += 1,
            ']' => arrays -= 1,
            _ => {}
        }
        let first = previous == '{' && c != '}';
        let last = previous != '{' && c == '}';
        let next = previous == ',';
        if arrays == 0 && (first || last || next) {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        } else if next {
            out.push(' ');
        }
        out.push(c);
        if c == ':' {
            out.push(' ');
        }
        in_string = c == '"';
        previous = c;
    }
    out + "\n"
}

#[test]
fn changes_space_only() {
    let line = r#"{"a":{"b":["x","{\","],"c":{}},"d\\":1}"#;
    let expect = r#"{
  "a": {
    "b": ["x", "{\","],
    "c": {}
  },
  "d\\": 1
}
"#;
    assert_eq!(of(line), expect);
}

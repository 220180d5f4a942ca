//! Values of the API as tables and lines for a person.

use serde_json::Value;

/// Rows of an array as columns: a heading and the field of each. Characters that move the cursor of a
/// terminal are escaped: names come from clients.
pub(crate) fn table(rows: &Value, columns: &[(&str, &str)]) -> String {
    let rows = rows.as_array().map_or(&[][..], |rows| rows);
    let mut lines: Vec<Vec<String>> =
        vec![columns.iter().map(|(head, _)| (*head).into()).collect()];
    lines.extend(rows.iter().map(|row| {
        let cells = columns.iter().map(|(_, field)| plain(inner(row, field)));
        cells.collect()
    }));
    let mut widths = vec![0; columns.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A field, or one of a field: `outer/inner`.
fn inner<'a>(row: &'a Value, field: &str) -> &'a Value {
    field.split('/').fold(row, |value, name| &value[name])
}

/// Fields of an object, one per line, those within it indented.
pub(super) fn fields(value: &Value) -> String {
    let mut text = String::new();
    write_fields(value, 0, &mut text);
    text
}

fn write_fields(value: &Value, depth: usize, text: &mut String) {
    let Some(map) = value.as_object() else {
        text.push_str(&format!("{}\n", plain(value)));
        return;
    };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    for (name, field) in map.iter().filter(|(_, field)| !field.is_null()) {
        let indent = "  ".repeat(depth);
        match field {
            Value::Object(_) => {
                text.push_str(&format!("{indent}{name}\n"));
                write_fields(field, depth + 1, text);
            }
            _ => text.push_str(&format!("{indent}{name:width$}  {}\n", plain(field))),
        }
    }
}

pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => escaped(text),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

pub(super) fn nothing(_: &Value) -> String {
    String::new()
}

pub(super) fn show_listeners(value: &Value) -> String {
    let columns = [
        ("LISTENER", "name"),
        ("TRANSPORT", "transport"),
        ("CONNECTIONS", "connections"),
        ("CERTIFICATE UNTIL", "certificate_until_s"),
    ];
    table(&value["listeners"], &columns)
}

pub(super) fn show_subscriptions(value: &Value) -> String {
    let columns = [
        ("CLIENT", "client_id"),
        ("FILTER", "filter"),
        ("QOS", "qos"),
        ("CONNECTED", "connected"),
    ];
    table(&value["subscriptions"], &columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = json!([{ "a": "x\u{1b}[2J", "b": 1 }, { "a": "ü", "b": null, "c": { "d": 2 } }]);
        let text = table(&rows, &[("A", "a"), ("COUNT", "b"), ("D", "c/d")]);
        assert_eq!(
            text,
            "A           COUNT  D\nx\\u{1b}[2J  1      -\nü           -      2\n"
        );
    }

    #[test]
    fn fields_are_lines() {
        let text = fields(&json!({ "name": "a", "none": null, "of": { "it": true } }));
        assert_eq!(text, "name  a\nof\n  it  yes\n");
    }
}

//! A [`Value`] to its shortest JSON text, as `serde_json` writes it.

use std::fmt::Write as _;

use serde_json::Value;

/// The text of a value, without white space, members in their order.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Appends the text of a value.
pub fn write(value: &Value, to: &mut String) {
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(flag) => to.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(to, "{number}");
        }
        Value::String(string) => write_string(string, to),
        Value::Array(items) => {
            let mut sign = '[';
            for item in items {
                to.push(sign);
                sign = ',';
                write(item, to);
            }
            if items.is_empty() {
                to.push(sign);
            }
            to.push(']');
        }
        Value::Object(members) => {
            let mut sign = '{';
            for (name, member) in members {
                to.push(sign);
                sign = ',';
                write_string(name, to);
                to.push(':');
                write(member, to);
            }
            if members.is_empty() {
                to.push(sign);
            }
            to.push('}');
        }
    }
}

fn write_string(string: &str, to: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    to.push('"');
    let mut written = 0;
    for (at, byte) in string.bytes().enumerate() {
        let short = match byte {
            b'"' | b'\\' => char::from(byte),
            b'\n' => 'n',
            b'\r' => 'r',
            b'\t' => 't',
            0x8 => 'b',
            0xC => 'f',
            0..0x20 => 'u',
            _ => continue,
        };
        // ASCII bytes are whole code points, and so is what is between them.
        to.push_str(string.get(written..at).unwrap_or_default());
        written = at + 1;
        to.push('\\');
        to.push(short);
        if short == 'u' {
            to.push_str("00");
            to.push(char::from(HEX[usize::from(byte >> 4)]));
            to.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    to.push_str(string.get(written..).unwrap_or_default());
    to.push('"');
}

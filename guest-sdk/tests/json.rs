//! The SDK's reader and writer of JSON against `serde_json`'s.
#![allow(clippy::unwrap_used)] // this is how a test fails

use pg_llm_guest::json::{read, text};
use pg_llm_guest::serde_json::{self, Value};

/// The same numbers in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }
}

/// Alike but for the last bits of numbers with many digits or large exponents, which neither reads exactly.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other)),
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((name, one), (other_name, other))| name == other_name && alike(one, other))
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            one.to_bits() == other.to_bits() || (one - other).abs() <= one.abs() * 1e-14 || (one - other).abs() < 1e-307
        }
        _ => one == other,
    }
}

fn compare(json: &str) {
    match (read(json), serde_json::from_str::<Value>(json)) {
        (Ok(ours), Ok(theirs)) => {
            assert!(alike(&ours, &theirs), "{json}\n{ours}\n{theirs}");
            assert_eq!(text(&ours), serde_json::to_string(&ours).unwrap());
        }
        (Err(_), Err(_)) => {}
        (ours, theirs) => {
            let why = format!("{json}\n{ours:?}\n{theirs:?}");
            // Half of a surrogate pair is the one thing that only we read; a number at the very edge of the range may fall on either side.
            assert!(json.contains("\\u") && ours.is_ok() || json.contains("308") || json.contains("e3"), "{why}");
        }
    }
}

const TEXTS: [&str; 72] = [
    "",
    " ",
    "null",
    " true ",
    "false",
    "nul",
    "truee",
    "tru",
    "x",
    "\"\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u00e4\\n\\t\\r\\b\\f\\/\\\\\\\"\"",
    "\"\u{1}\"",
    "\"\\u0001\\u001f\\u007f\"",
    "\"Grüße 🦀\"",
    "\"\\ud83e\\udd80\"",
    "\"\\uD83E\\uDD80x\"",
    "0",
    "-0",
    "-0.0",
    "00",
    "01",
    "-01",
    "-",
    "+1",
    "1.",
    ".5",
    "1.5",
    "1e5",
    "1E+5",
    "1e-5",
    "1e",
    "1e+",
    "12.0",
    "0.1",
    "0.7",
    "-0.25",
    "3.141592653589793",
    "1e22",
    "1e23",
    "123456789012345678",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e308",
    "1e309",
    "-1e400",
    "1e-400",
    "0e999999999999",
    "1e999999999999",
    "[]",
    "[ ]",
    "[1,2 , 3]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1",
    "[",
    "{}",
    "{ }",
    "{\"a\":1,\"b\":[{}],\"a\":2}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{a:1}",
    "{\"a\":1} x",
    "{1:2}",
    "\u{FEFF}1",
];

#[test]
fn each_text_is_read_and_written_as_the_reference_does() {
    for json in TEXTS {
        compare(json);
        compare(&format!("[{json},{json}]"));
        compare(&format!("\n{{ \"k\" :\t{json}\r\n}} "));
    }
}

#[test]
fn mutated_texts_are_read_or_refused_as_the_reference_does() {
    let mut random = Random(7);
    let seed =
        r#"{"id":"c","n":[0,-1,1.5e3,-0.001,123456789.25],"s":"a\"\\\/\b\f\n\r\tä🦀","o":{"t":true,"f":false,"z":null,"e":{},"a":[]}}"#;
    for _ in 0..200_000 {
        let mut chars: Vec<char> = seed.chars().collect();
        for _ in 0..=random.below(3) {
            let at = random.below(chars.len());
            match random.below(3) {
                0 => chars[at] = char::from(u8::try_from(random.below(128)).unwrap()),
                1 => drop(chars.remove(at)),
                _ => {
                    let copied = chars[random.below(chars.len())];
                    chars.insert(at, copied);
                }
            }
        }
        compare(&chars.iter().collect::<String>());
    }
}

#[test]
fn numbers_of_up_to_fifteen_digits_are_exact() {
    let mut random = Random(11);
    for _ in 0..200_000 {
        let digits = random.next() % 10_u64.pow(1 + u32::try_from(random.below(15)).unwrap());
        let json = format!("{digits}e{}", i32::try_from(random.below(44)).unwrap() - 22);
        let exact: f64 = json.parse().unwrap();
        assert_eq!(read(&json).unwrap().as_f64().unwrap().to_bits(), exact.to_bits(), "{json}");
    }
}

#[test]
fn half_of_a_surrogate_pair_is_the_replacement_character() {
    for (json, wanted) in [
        (r#""\ud83e""#, "\u{FFFD}"),
        (r#""\udd80!""#, "\u{FFFD}!"),
        (r#""\ud83e\u0041""#, "\u{FFFD}A"),
        (r#""\ud83e\ud83e\udd80""#, "\u{FFFD}🦀"),
        (r#""\ud83ex""#, "\u{FFFD}x"),
    ] {
        assert_eq!(read(json).unwrap(), wanted, "{json}");
    }
    assert!(read(r#""\ud83e\u00""#).is_err());
}

#[test]
fn nesting_has_the_bound_that_the_reference_has() {
    for depth in [1, 126, 127, 128, 129, 100_000] {
        let json = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(read(&json).is_ok(), serde_json::from_str::<Value>(&json).is_ok(), "{depth}");
    }
}

#[test]
fn a_mistake_says_what_was_expected_where() {
    let mistake = read("{\"a\":1 \"b\"}").unwrap_err();
    assert_eq!(mistake.words("the text"), "the text is not JSON: expected a comma or the end of an object at byte 7");
}

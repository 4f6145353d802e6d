//! Hostile bytes: well-formed ones, damaged in ways that repeat from run to run.
#![allow(clippy::unwrap_used)] // of what is written here
#![allow(clippy::missing_panics_doc)]

use serde_json::Value;

/// Values of every type, to stand where another was expected.
const INTRUDERS: [&str; 12] =
    ["null", "true", "-1", "1e308", "18446744073709551616", "\"\"", "\"x\"", "[]", "{}", "[null]", "{\"error\":null}", "[[[[{}]]]]"];

/// The same numbers in every run (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Numbers that begin with this seed, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 and below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % bound
    }
}

/// `bytes` with up to five changes: a byte, a piece gone, cut off, a piece repeated elsewhere. Never empty.
pub fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            1 => drop(bytes.drain(at..(at + random.below(20)).min(bytes.len()))),
            2 => bytes.truncate(at.max(1)),
            _ => {
                let piece = bytes[..at].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes
}

/// Every value of `body` replaced by values of all types in turn, and every member left out.
pub fn intruded(body: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = INTRUDERS.iter().map(|intruder| serde_json::from_str(intruder).unwrap()).collect();
    match body {
        Value::Object(members) => {
            for (name, value) in members {
                for other in intruded(value) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), other);
                    all.push(Value::Object(changed));
                }
                let mut without = members.clone();
                without.shift_remove(name);
                all.push(Value::Object(without));
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                for other in intruded(value) {
                    let mut changed = items.clone();
                    changed[at] = other;
                    all.push(Value::Array(changed));
                }
            }
        }
        _ => {}
    }
    all
}

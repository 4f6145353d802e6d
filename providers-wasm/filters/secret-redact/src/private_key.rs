//! Private keys in blocks (RFC 7468, RFC 4716, OpenPGP armour): from the line that begins one to the one that ends it, however long.

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
/// Longest label between `BEGIN` and its dashes.
const LABEL: usize = 48;
/// So many characters of key after the first line, or the line is only spoken of.
const MATERIAL: usize = 32;

/// Replaces private keys in a text that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct PrivateKeys {
    inside: bool,
    held: String,
}

impl PrivateKeys {
    /// Takes a piece and appends to `out` what is settled; true when a key was replaced.
    pub(crate) fn push(&mut self, text: &str, ended: bool, out: &mut String) -> bool {
        self.held.push_str(text);
        let held = std::mem::take(&mut self.held);
        let (mut rest, mut any) = (&held[..], false);
        loop {
            let step = if self.inside { skip(rest) } else { begin(rest) };
            match step {
                Step::Key(open) => {
                    out.push_str(&rest[..open]);
                    out.push_str("[PRIVATE_KEY]");
                    (any, self.inside) = (true, true);
                    rest = &rest[open..];
                }
                Step::Open(to) => {
                    out.push_str(&rest[..to]);
                    rest = &rest[to..];
                }
                Step::Over(to) => {
                    self.inside = false;
                    rest = &rest[to..];
                }
                Step::Wait(_) if ended => {
                    if !self.inside {
                        out.push_str(rest);
                    }
                    return any;
                }
                Step::Wait(from) => {
                    if !self.inside {
                        out.push_str(&rest[..from]);
                    }
                    rest[from..].clone_into(&mut self.held);
                    return any;
                }
            }
        }
    }
}

enum Step {
    /// A key begins here.
    Key(usize),
    /// No key begins before here.
    Open(usize),
    /// The key ends here.
    Over(usize),
    /// From here on it depends on what comes.
    Wait(usize),
}

/// Outside of a key.
fn begin(text: &str) -> Step {
    let Some(at) = text.find(BEGIN) else {
        // Its first characters may have come.
        let tail = (1..BEGIN.len()).rev().find(|length| text.ends_with(&BEGIN[..*length])).unwrap_or(0);
        return Step::Wait(text.len() - tail);
    };
    let rest = &text[at + BEGIN.len()..];
    let label = rest.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ').count();
    let dashes = rest[label..].bytes().take(5).take_while(|byte| *byte == b'-').count();
    if label > LABEL {
        return Step::Open(at + BEGIN.len());
    }
    if dashes < 5 {
        let cut_off = label + dashes == rest.len();
        return if cut_off { Step::Wait(at) } else { Step::Open(at + BEGIN.len()) };
    }
    if !rest[..label].contains("PRIVATE KEY") {
        return Step::Open(at + BEGIN.len());
    }
    let body = &rest[label + dashes..];
    // Line ends may be written out, as in JSON.
    let mut material = 0;
    for (offset, byte) in body.bytes().enumerate() {
        match byte {
            b'\n' | b'\r' | b'\\' => {}
            b' ' | b'\t' if offset == 0 || body.as_bytes()[offset - 1].is_ascii_whitespace() || body.as_bytes()[offset - 1] == b':' => {}
            byte if byte.is_ascii_alphanumeric() || b"+/=-:,".contains(&byte) => material += 1,
            _ => return Step::Open(at + BEGIN.len()),
        }
        if material >= MATERIAL {
            return Step::Key(at);
        }
        if offset > 8 * MATERIAL {
            return Step::Open(at + BEGIN.len());
        }
    }
    Step::Wait(at)
}

/// Inside of a key: its first line included.
fn skip(text: &str) -> Step {
    // The first line begins like the last.
    let from = if text.starts_with(BEGIN) { BEGIN.len() } else { 0 };
    if let Some(at) = text[from..].find(END).map(|at| from + at) {
        if let Some(foreign) = foreign(&text[from..at]) {
            return Step::Over(from + foreign);
        }
        let after = &text[at + END.len()..];
        return match after.find("-----") {
            Some(end) if end <= LABEL => Step::Over(at + END.len() + end + 5),
            None if after.len() <= LABEL => Step::Wait(at),
            _ => Step::Over(at + END.len()),
        };
    }
    if let Some(foreign) = foreign(&text[from..]) {
        return Step::Over(from + foreign);
    }
    let tail = (1..END.len()).rev().find(|length| text.ends_with(&END[..*length])).unwrap_or(0);
    // The first line is kept until it is whole, lest it be taken for part of the key.
    Step::Wait(text.len() - tail)
}

/// Where something stands that no key has in it.
fn foreign(text: &str) -> Option<usize> {
    text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=-:,.\\()<>@_".contains(&byte)))
}

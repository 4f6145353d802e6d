//! Characters that cannot be seen: what they say, and a text without those that nothing needs.

use pg_llm_guest::filter::is_invisible;

/// What the hidden characters of a text come to.
#[derive(Default)]
pub(crate) struct Hidden {
    pub(crate) findings: Vec<(&'static str, f64)>,
    /// What is written in tag characters and variation selectors.
    pub(crate) text: String,
}

pub(crate) fn hidden(text: &str) -> Hidden {
    let mut hidden = Hidden::default();
    if text.is_ascii() {
        return hidden;
    }
    let (mut tags, mut selectors, mut within, mut overrides, mut run, mut longest) = (0, 0_usize, 0, 0, 0, 0);
    let mut selector_bytes = Vec::new();
    let mut longest_selectors = 0;
    let right_to_left = text.chars().any(|c| matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FEFC}'));
    let mut previous = None;
    let mut chars = text.chars().peekable();
    // The tags of a flag belong to it.
    let mut in_flag = false;
    while let Some(c) = chars.next() {
        if c == '\u{1F3F4}' {
            in_flag = true;
        } else if !matches!(c, '\u{E0020}'..='\u{E007F}') {
            in_flag = false;
        }
        match c {
            '\u{E0000}'..='\u{E007F}' if !in_flag => {
                tags += 1;
                hidden.text.extend(u8::try_from(u32::from(c) - 0xE_0000).ok().filter(|byte| (0x20..0x7F).contains(byte)).map(char::from));
            }
            '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
                selectors += 1;
                longest_selectors = longest_selectors.max(selectors);
                let code = u32::from(c);
                let byte = if code < 0xFF00 { code - 0xFE00 } else { code - 0xE_0100 + 16 };
                selector_bytes.extend(u8::try_from(byte).ok());
            }
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' if !right_to_left => overrides += 1,
            _ => {}
        }
        if !matches!(c, '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}') {
            selectors = 0;
        }
        if is_invisible(c) {
            run += 1;
            longest = longest.max(run);
            let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
            within += usize::from(latin(previous) && latin(chars.peek().copied()) && c != '\u{AD}');
        } else {
            run = 0;
        }
        previous = Some(c);
    }
    if tags > 3 {
        hidden.findings.push(("hidden text in tag characters", 0.9));
    }
    if longest_selectors > 3 {
        hidden.findings.push(("hidden bytes in variation selectors", 0.9));
        hidden.text.push_str(&String::from_utf8_lossy(&selector_bytes));
    }
    if longest >= 16 && tags == 0 && longest_selectors <= 3 {
        hidden.findings.push(("a run of characters that cannot be seen", 0.7));
    }
    if overrides > 0 {
        hidden.findings.push(("directional controls in a text that runs one way", if overrides > 1 { 0.5 } else { 0.3 }));
    }
    if within > 0 {
        hidden.findings.push(("words with characters that cannot be seen inside", if within > 2 { 0.4 } else { 0.2 }));
    }
    hidden
}

/// The text without what cannot be seen; none when there is nothing of that. Joiners stay where a script or an emoji needs them, a selector after what it
/// selects, marks of direction in texts that run from right to left, tags in flags.
pub(crate) fn stripped(text: &str) -> Option<String> {
    if !text.chars().any(is_invisible) {
        return None;
    }
    let right_to_left = text.chars().any(|c| matches!(c, '\u{590}'..='\u{8FF}' | '\u{FB1D}'..='\u{FEFC}'));
    let mut out = String::with_capacity(text.len());
    let mut in_flag = false;
    // The character before, of those that stay.
    let mut previous: Option<char> = None;
    for c in text.chars() {
        in_flag = c == '\u{1F3F4}' || in_flag && matches!(c, '\u{E0020}'..='\u{E007F}');
        let needed = match c {
            '\u{200C}' | '\u{200D}' => previous.is_some_and(|c| !c.is_ascii() && !is_invisible(c) || c == '\u{FE0F}'),
            '\u{FE00}'..='\u{FE0F}' => previous.is_some_and(|c| !is_invisible(c) && !c.is_ascii_alphabetic()),
            '\u{200E}' | '\u{200F}' | '\u{61C}' => right_to_left,
            '\u{E0020}'..='\u{E007F}' => in_flag,
            c => !is_invisible(c),
        };
        if needed {
            out.push(c);
            previous = Some(c);
        }
    }
    (out.len() < text.len()).then_some(out)
}

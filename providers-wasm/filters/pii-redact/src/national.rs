//! National ids: of ten countries, by their check digits where there are any.

use crate::checks::{is_day, luhn, mod_11_10, mod_97, verhoeff, weighted};
use crate::context::Context;
use crate::numbers::{Group, digits, separator};

/// Whose ids are known.
pub(crate) const COUNTRIES: [&str; 10] = ["us", "gb", "es", "fr", "it", "de", "se", "cn", "in", "br"];

pub(crate) fn ids(context: &Context<'_>, groups: &[Group], countries: &[&str], take: &mut dyn FnMut(usize, usize)) {
    let has = |country: &str| countries.contains(&country);
    for first in 0..groups.len() {
        for last in first..groups.len().min(first + 7) {
            let run = &groups[first..=last];
            if run.iter().map(|group| group.len()).sum::<usize>() > 18 {
                break;
            }
            if last > first && separator(context.piece, &run[run.len() - 2..]).is_none() {
                break;
            }
            // None is shorter.
            if run.iter().map(|group| group.len()).sum::<usize>() < 9 {
                continue;
            }
            if let Some((start, end)) = of_digits(context, run, &has) {
                if context.begins(start) && context.ends(end) {
                    take(start, end);
                }
            }
        }
    }
    for start in 0..context.piece.len() {
        if context.previous(start).is_some_and(|byte| byte.is_ascii_alphanumeric()) || !context.begins(start) {
            continue;
        }
        for end in [gb(context, start, &has), es(context, start, &has), it(context, start, &has)].into_iter().flatten() {
            if context.ends(end) {
                take(start, end);
            }
        }
    }
}

/// Ids of digits and separators (China's and Spain's end in a letter).
fn of_digits(context: &Context<'_>, run: &[Group], has: &dyn Fn(&str) -> bool) -> Option<(usize, usize)> {
    let piece = context.piece;
    let (start, end) = (run[0].start, run[run.len() - 1].end);
    let lengths: Vec<usize> = run.iter().map(|group| group.len()).collect();
    let separator = separator(piece, run);
    let said = |words: &[&str]| context.says(start, words);
    let d = digits(piece, run);
    let pair = |at: usize| d[at] * 10 + d[at + 1];
    let is_id = match (&lengths[..], separator) {
        // Social Security number: no check digit, some areas are never given.
        ([3, 2, 4], Some(b'-' | b' ')) => {
            has("us")
                && us(&d)
                && (separator == Some(b'-') || said(&["ssn", "social security"]))
                && !said(&["order", "part", "sku", "serial"])
        }
        ([9], None) => has("us") && us(&d) && said(&["ssn", "social security"]),
        // CPF.
        ([3, 3, 3, 2], _) => has("br") && br(&d) && matches!(piece[run[0].end], b'.') && piece[run[2].end] == b'-',
        ([11], None) => (has("br") && br(&d) && said(&["cpf"])) || (has("de") && de(&d) && said(DE)),
        // Steuer-Identifikationsnummer.
        ([2, 3, 3, 3], Some(b' ')) => has("de") && de(&d),
        // Aadhaar.
        ([4, 4, 4], Some(b' ' | b'-')) => has("in") && d[0] > 1 && verhoeff(&d) && context.is_alone(start, end),
        ([12], None) => has("in") && d[0] > 1 && verhoeff(&d) && said(&["aadhaar", "aadhar", "uid", "आधार"]),
        // Personnummer.
        ([6, 4], Some(b'-' | b'+')) => has("se") && is_day(pair(2), pair(4)) && luhn(&d),
        ([8, 4], Some(b'-' | b'+')) => has("se") && matches!(pair(0), 19 | 20) && is_day(pair(4), pair(6)) && luhn(&d[2..]),
        // Resident identity card, whose check digit may be an X.
        ([17], None) if has("cn") && matches!(piece.get(end), Some(b'x' | b'X')) => return cn(&d, 10).then_some((start, end + 1)),
        ([18], None) => has("cn") && cn(&d[..17], d[17]),
        // NIR, with or without spaces.
        ([15], None) | ([1, 2, 2, 2, 3, 3, 2] | [13, 2], Some(b' ')) => has("fr") && fr(&d),
        _ => false,
    };
    is_id.then_some((start, end))
}

const DE: &[&str] = &["steuer", "idnr", "tax id", "tin"];

fn us(d: &[u8]) -> bool {
    let area = u32::from(d[0]) * 100 + u32::from(d[1]) * 10 + u32::from(d[2]);
    area != 0 && area != 666 && area < 900 && (d[3], d[4]) != (0, 0) && d[5..] != [0, 0, 0, 0]
}

fn br(d: &[u8]) -> bool {
    let check = |count: usize| {
        let rest = weighted(&d[..count], (2..=u32::try_from(count).unwrap_or(0) + 1).rev()) * 10 % 11 % 10;
        rest == u32::from(d[count])
    };
    check(9) && check(10) && d.iter().any(|digit| *digit != d[0])
}

/// Among the first ten digits one stands twice or thrice, and the first is none.
fn de(d: &[u8]) -> bool {
    let mut seen = [0_u8; 10];
    for digit in &d[..10] {
        seen[usize::from(*digit)] += 1;
    }
    let repeated = seen.iter().filter(|count| **count > 1).count();
    d[0] != 0 && repeated == 1 && seen.iter().all(|count| *count <= 3) && mod_11_10(d)
}

fn cn(d: &[u8], check: u8) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let pair = |at: usize| d[at] * 10 + d[at + 1];
    (11..=91).contains(&pair(0))
        && matches!(pair(6), 18..=20)
        && is_day(pair(10), pair(12))
        && (12 - weighted(d, WEIGHTS) % 11) % 11 == u32::from(check)
}

fn fr(d: &[u8]) -> bool {
    let month = d[3] * 10 + d[4];
    let rest = mod_97(d[..13].iter().copied());
    matches!(d[0], 1 | 2) && matches!(month, 1..=12 | 20..=42 | 50..=99) && 97 - rest == u32::from(d[13]) * 10 + u32::from(d[14])
}

/// The next `count` signs that keep to `shape` (`9` a digit, `A` a capital or small letter), with single spaces between them where `spaced`.
fn signs(context: &Context<'_>, start: usize, shape: &[u8], spaced: bool) -> Option<(Vec<u8>, usize)> {
    let mut signs = Vec::new();
    let mut at = start;
    for kind in shape {
        if spaced && !signs.is_empty() && matches!(context.byte(at), Some(b' ' | b'-')) {
            at += 1;
        }
        let sign = context.byte(at)?.to_ascii_uppercase();
        let fits = match kind {
            b'9' => sign.is_ascii_digit(),
            b'A' => sign.is_ascii_uppercase(),
            _ => sign.is_ascii_alphanumeric(),
        };
        if !fits {
            return None;
        }
        signs.push(sign);
        at += 1;
    }
    Some((signs, at))
}

/// National Insurance number: no check digit, but prefixes that are never given.
fn gb(context: &Context<'_>, start: usize, has: &dyn Fn(&str) -> bool) -> Option<usize> {
    let (s, end) = signs(context, start, b"AA999999A", true).filter(|_| has("gb"))?;
    let prefix = !b"DFIQUV".contains(&s[0]) && !b"DFIQUVO".contains(&s[1]);
    let never = [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].iter().any(|never| s.starts_with(*never));
    (prefix && !never && (b'A'..=b'D').contains(&s[8]) && context.piece[start].is_ascii_uppercase()).then_some(end)
}

/// DNI and NIE: the letter is the number modulo 23.
fn es(context: &Context<'_>, start: usize, has: &dyn Fn(&str) -> bool) -> Option<usize> {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let nie = |sign: u8| b"XYZ".iter().position(|first| *first == sign).and_then(|at| u32::try_from(at).ok());
    let first = context.byte(start)?.to_ascii_uppercase();
    let (s, end) = match nie(first) {
        Some(_) => signs(context, start, b"A9999999A", true),
        None => signs(context, start, b"99999999A", true),
    }
    .filter(|_| has("es"))?;
    let value = |sign: u8| nie(sign).unwrap_or_else(|| u32::from(sign.saturating_sub(b'0')));
    let number = s[..8].iter().fold(0, |number, sign| number * 10 + value(*sign));
    (LETTERS[(number % 23) as usize] == s[8] && context.piece[end - 1].is_ascii_uppercase()).then_some(end)
}

/// Codice fiscale: the last letter checks the others.
fn it(context: &Context<'_>, start: usize, has: &dyn Fn(&str) -> bool) -> Option<usize> {
    const ODD: [u32; 26] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let (s, end) = signs(context, start, b"AAAAAA..A..A...A", false).filter(|_| has("it"))?;
    let month = b"ABCDEHLMPRST".contains(&s[8]);
    let value = |sign: u8| usize::from(if sign.is_ascii_digit() { sign - b'0' } else { sign - b'A' });
    let sum: u32 = s[..15]
        .iter()
        .enumerate()
        .map(|(at, sign)| if at % 2 == 0 { ODD[value(*sign)] } else { u32::try_from(value(*sign)).unwrap_or(0) })
        .sum();
    (month && s[..15].iter().any(u8::is_ascii_digit) && sum % 26 == u32::from(s[15] - b'A')).then_some(end)
}

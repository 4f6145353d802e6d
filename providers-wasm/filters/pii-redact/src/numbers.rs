//! Groups of digits, payment cards and IBANs.

use crate::checks::{luhn, mod_97};
use crate::context::Context;

/// A maximal run of digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Group {
    pub(crate) fn len(self) -> usize {
        self.end - self.start
    }
}

/// The runs of digits of a piece.
pub(crate) fn groups(piece: &[u8]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, _) in piece.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match groups.last_mut() {
            Some(group) if group.end == at => group.end = at + 1,
            _ => groups.push(Group { start: at, end: at + 1 }),
        }
    }
    groups
}

/// The digits of these groups, as numbers.
pub(crate) fn digits(piece: &[u8], groups: &[Group]) -> Vec<u8> {
    groups.iter().flat_map(|group| &piece[group.start..group.end]).map(|byte| byte - b'0').collect()
}

/// What stands between each group and the next, where it is always the same one byte.
pub(crate) fn separator(piece: &[u8], groups: &[Group]) -> Option<u8> {
    let mut all = groups.windows(2).map(|pair| (pair[1].start == pair[0].end + 1).then(|| piece[pair[0].end]));
    let first = all.next()??;
    all.all(|byte| byte == Some(first)).then_some(first)
}

const CARD: [&str; 10] = ["card", "visa", "amex", "credit", "debit", "karte", "tarjeta", "carte", "cartão", "карт"];
const NO_CARD: [&str; 15] = [
    "order",
    "invoice",
    "tracking",
    "ticket",
    "parcel",
    "shipment",
    "serial",
    "imei",
    "transaction",
    "bestellung",
    "rechnung",
    "pedido",
    "commande",
    "timestamp",
    "订单",
];

/// Payment cards (ISO/IEC 7812): known beginning and length, Luhn's check digit, whole or in groups as they are printed.
pub(crate) fn cards(context: &Context<'_>, groups: &[Group], take: &mut dyn FnMut(usize, usize)) {
    let mut skip = 0;
    for first in 0..groups.len() {
        if first < skip || !context.begins(groups[first].start) {
            continue;
        }
        // At most seven groups make a card.
        for last in first..groups.len().min(first + 7) {
            let card = &groups[first..=last];
            let (start, end) = (card[0].start, groups[last].end);
            let length: usize = card.iter().map(|group| group.len()).sum();
            if length > 19 {
                break;
            }
            if length < 13 || !context.ends(end) {
                continue;
            }
            let printed = card.len() == 1
                || matches!(separator(context.piece, card), Some(b' ' | b'-'))
                    && matches!(card[0].len(), 4 | 6)
                    && card[1..].iter().all(|group| group.len() >= 3);
            let digits = digits(context.piece, card);
            if printed && is_brand(&digits) && luhn(&digits) && (context.says(start, &CARD) || !context.says(start, &NO_CARD)) {
                take(start, end);
                skip = last + 1;
                break;
            }
        }
    }
}

/// Beginnings and lengths of the networks' numbers.
fn is_brand(digits: &[u8]) -> bool {
    let begins = |count: usize| digits.iter().take(count).fold(0_u32, |number, digit| number * 10 + u32::from(*digit));
    match digits.len() {
        16 => {
            matches!(begins(1), 4)
                || matches!(begins(2), 51..=55 | 65 | 35 | 62 | 81)
                || matches!(begins(4), 2221..=2720 | 6011 | 5018 | 5020 | 5038 | 6304 | 6759 | 6761..=6763 | 2200..=2204)
                || matches!(begins(3), 644..=649)
        }
        15 => matches!(begins(2), 34 | 37),
        14 => matches!(begins(2), 36 | 38 | 39) || matches!(begins(3), 300..=305),
        13 => begins(1) == 4,
        17..=19 => matches!(begins(2), 62) || digits.len() == 19 && begins(1) == 4,
        _ => false,
    }
}

/// Countries of IBANs and their lengths (SWIFT's registry).
const IBANS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28\
IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27\
ST25SV28TL23TN24TR26UA29VA22VG24XK20";

/// IBANs (ISO 13616): the country's length, and 1 modulo 97.
pub(crate) fn ibans(context: &Context<'_>, take: &mut dyn FnMut(usize, usize)) {
    let piece = context.piece;
    let mut at = 0;
    while at + 15 <= piece.len() {
        match iban(context, at) {
            Some(end) => {
                take(at, end);
                at = end;
            }
            None => at += 1,
        }
    }
}

fn iban(context: &Context<'_>, start: usize) -> Option<usize> {
    let piece = context.piece;
    let head = piece.get(start..start + 4)?;
    if !(head[0].is_ascii_alphabetic() && head[1].is_ascii_alphabetic() && head[2].is_ascii_digit() && head[3].is_ascii_digit()) {
        return None;
    }
    if !context.begins(start) {
        return None;
    }
    let country = IBANS.chunks(4).find(|country| country[..2].eq_ignore_ascii_case(&head[..2]))?;
    let length = usize::from(country[2] - b'0') * 10 + usize::from(country[3] - b'0');
    let mut signs = Vec::with_capacity(length);
    let mut at = start;
    while signs.len() < length {
        match context.byte(at)? {
            sign if sign.is_ascii_alphanumeric() => signs.push(sign.to_ascii_uppercase()),
            b' ' | b'-' if context.byte(at + 1).is_some_and(|next| next.is_ascii_alphanumeric()) => {}
            _ => return None,
        }
        at += 1;
    }
    let number = signs[4..].iter().chain(&signs[..4]).flat_map(|sign| match sign {
        b'0'..=b'9' => [10, sign - b'0'],
        letter => [(letter - b'A' + 10) / 10, (letter - b'A' + 10) % 10],
    });
    (mod_97(number.filter(|digit| *digit < 10)) == 1 && context.ends(at)).then_some(at)
}

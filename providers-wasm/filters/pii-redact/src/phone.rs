//! Telephone numbers: with a plus and a country code (ITU-T E.164), as several countries write them, or after a word that says so.

use pg_llm_guest::filter::IDEOGRAPH;

use crate::context::Context;
use crate::numbers::{Group, separator};

const PHONE: [&str; 37] = [
    "phone",
    "tel",
    "mobile",
    "cell",
    "call",
    "dial",
    "fax",
    "whatsapp",
    "sms",
    "hotline",
    "ring me",
    "text me",
    "reach me",
    "handy",
    "mobil",
    "rufnummer",
    "anruf",
    "ruf ",
    "téléphone",
    "portable",
    "appel",
    "teléfono",
    "móvil",
    "celular",
    "llam",
    "telefone",
    "cellulare",
    "chiam",
    "телефон",
    "звон",
    "тел.",
    "电话",
    "手机",
    "電話",
    "携帯",
    "拨打",
    "전화",
];
const NO_PHONE: [&str; 14] = [
    "order",
    "invoice",
    "ticket",
    "tracking",
    "serial",
    "isbn",
    "timestamp",
    "case ",
    "订单",
    "编号",
    "单号",
    "注文",
    "bestellung",
    "rechnung",
];

pub(crate) fn numbers(context: &Context<'_>, groups: &[Group], take: &mut dyn FnMut(usize, usize)) {
    let mut first = 0;
    while first < groups.len() {
        match number(context, groups, first) {
            Some((start, last)) => {
                take(start, groups[last].end);
                first = last + 1;
            }
            None => first += 1,
        }
    }
}

/// Where a number that has `groups[first]` as its first begins, and which group is its last.
fn number(context: &Context<'_>, groups: &[Group], first: usize) -> Option<(usize, usize)> {
    let piece = context.piece;
    let head = groups[first];
    let open = head.start.checked_sub(1).filter(|at| piece[*at] == b'(').unwrap_or(head.start);
    let plus = head.start.checked_sub(1).filter(|at| piece[*at] == b'+').or_else(|| open.checked_sub(1).filter(|at| piece[*at] == b'+'));
    if !context.begins(plus.unwrap_or(open)) {
        return None;
    }
    // The groups that go on from here, none of them far from the last.
    let most = groups[first..].iter().take(7).enumerate().take_while(|(at, group)| {
        let Some(before) = at.checked_sub(1).map(|before| groups[first + before].end) else { return true };
        let between = &piece[before..group.start];
        between.len() <= 3 && between.iter().all(|byte| b" -./()".contains(byte))
    });
    let most = most.count();
    let start = plus.unwrap_or(open);
    for count in (1..=most).rev() {
        let run = &groups[first..first + count];
        let total: usize = run.iter().map(|group| group.len()).sum();
        if total <= 15 && context.ends(run[count - 1].end) && is_number(context, run, plus.is_some(), open < head.start, total) {
            return Some((start, first + count - 1));
        }
    }
    None
}

fn is_number(context: &Context<'_>, run: &[Group], plus: bool, open: bool, total: usize) -> bool {
    let piece = context.piece;
    let head = piece[run[0].start];
    if plus {
        return head != b'0' && (8..=15).contains(&total);
    }
    let lengths: Vec<usize> = run.iter().map(|group| group.len()).collect();
    let at = |group: usize| piece[run[group].start];
    let second = piece.get(run[0].start + 1).copied().unwrap_or_default();
    let separator = separator(piece, run);
    if dates(&lengths) {
        return false;
    }
    let shape = match lengths[..] {
        // North America (NANP).
        [3, 3, 4] => at(0) >= b'2' && at(1) >= b'2' && (open || separator.is_some() && separator != Some(b'/')),
        [1, 3, 3, 4] => at(0) == b'1' && at(1) >= b'2' && at(2) >= b'2',
        // France, in pairs.
        [2, 2, 2, 2, 2] => head == b'0' && second > b'0' && separator.is_some(),
        // Mobiles in China.
        [3, 4, 4] if head == b'1' => second >= b'3' && separator.is_some(),
        [11] if head == b'1' && second >= b'3' => {
            context.previous(run[0].start) == Some(IDEOGRAPH) && !context.says(run[0].start, &NO_PHONE)
        }
        // A trunk prefix: Germany, Britain, Italy, Japan ...
        [3..=5, 3..=8] | [2..=5, 3..=4, 3..=4] | [3..=5, 2..=3, 2..=3, 2..=3] => {
            head == b'0'
                && second > b'0'
                && (9..=12).contains(&total)
                && separator != Some(b'.')
                && context.is_alone(run[0].start, run[run.len() - 1].end)
        }
        _ => false,
    };
    shape && !context.says(run[0].start, &NO_PHONE)
        || (7..=13).contains(&total) && run.len() <= 5 && context.says(run[0].start, &PHONE) && !context.says(run[0].start, &NO_PHONE)
}

/// `2024-01-15`, `15.01.2024`.
fn dates(lengths: &[usize]) -> bool {
    matches!(lengths, [4, 1..=2, 1..=2] | [1..=2, 1..=2, 4])
}

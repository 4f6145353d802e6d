//! E-mail addresses (RFC 5321's mailbox, without quoted local parts).

use pg_llm_guest::filter::LETTER;

use crate::context::Context;

/// What comes after an `@` in the names of files, as in `icon@2x.png`.
const FILES: [&str; 12] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "html", "json", "pdf"];

pub(crate) fn addresses(context: &Context<'_>, take: &mut dyn FnMut(usize, usize)) {
    let piece = context.piece;
    for (at, _) in piece.iter().enumerate().filter(|(_, byte)| **byte == b'@') {
        let local = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == LETTER || b"._%+-'".contains(byte);
        let mut start = at - piece[..at].iter().rev().take(64).take_while(|byte| local(byte)).count();
        while start < at && b".'-".contains(&piece[start]) {
            start += 1;
        }
        let domain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == LETTER || b".-".contains(byte);
        let mut end = at + 1 + piece[at + 1..].iter().take(90).take_while(|byte| domain(byte)).count();
        while end > at && b".-".contains(&piece[end - 1]) {
            end -= 1;
        }
        if start == at || end <= at + 1 || piece[at - 1] == b'.' {
            continue;
        }
        let host = &piece[at + 1..end];
        let mut labels = host.rsplit(|byte| *byte == b'.');
        let top = labels.next().unwrap_or_default();
        let sound = labels.clone().count() > 0
            && labels.all(|label| !label.is_empty() && label[0] != b'-')
            && top.len() >= 2
            && top.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == LETTER)
            && !FILES.iter().any(|file| top.eq_ignore_ascii_case(file.as_bytes()));
        // `git@host:path` is a place, `scheme://user:password@host` an account of a machine.
        let place = context.byte(end) == Some(b':') && piece[start..at].eq_ignore_ascii_case(b"git");
        let account = start > 0 && piece[start - 1] == b':' && piece[..start].windows(3).any(|window| window == b"://");
        if sound && !place && !account && context.byte(end) != Some(b'@') {
            take(start, end);
        }
    }
}

//! IP addresses, where no version number stands. Not those that name nobody: loopback, unspecified, netmasks.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::context::{Context, is_word};

const VERSIONS: [&str; 14] = [
    "version",
    "ver.",
    "release",
    "build",
    "firmware",
    "section",
    "oid",
    "driver",
    "upgrade",
    "chapter",
    "kernel",
    "versión",
    "версия",
    "版本",
];

pub(crate) fn addresses(context: &Context<'_>, take: &mut dyn FnMut(usize, usize)) {
    let piece = context.piece;
    let mut at = 0;
    while at < piece.len() {
        let part = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':' || *byte == b'.';
        let length = piece[at..].iter().take_while(|byte| part(byte)).count();
        let mut end = at + length;
        let next = end + 1;
        while end > at && matches!(piece[end - 1], b'.') || end > at + 1 && piece[end - 1] == b':' && piece[end - 2] != b':' {
            end -= 1;
        }
        if length >= 3 && !context.previous(at).is_some_and(is_word) && !context.byte(at + length).is_some_and(is_word) {
            address(context, at, end, take);
        }
        at = next;
    }
}

fn address(context: &Context<'_>, start: usize, end: usize, take: &mut dyn FnMut(usize, usize)) {
    let Ok(text) = std::str::from_utf8(&context.piece[start..end]) else { return };
    // `10.0.0.1:8080`: the port is no part of it.
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    if let Some(address) =
        Some(host).filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())).and_then(|host| host.parse::<Ipv4Addr>().ok())
    {
        let after_slash = context.previous(start) == Some(b'/') && start.checked_sub(2).and_then(|at| context.byte(at)) != Some(b'/');
        let after_dash = matches!(context.previous(start), Some(b'-' | b'.' | b'@')) && !context.begins(start);
        let nobody = address.is_loopback() || address.is_unspecified() || address.octets()[0] == 255;
        if !nobody && !after_slash && !after_dash && !context.says(start, &VERSIONS) && context.byte(start + host.len()) != Some(b'-') {
            take(start, start + host.len());
        }
    } else if text.bytes().filter(|byte| *byte == b':').count() >= 2 && text.bytes().any(|byte| byte.is_ascii_digit()) {
        // `a::b1` is rather a path in a program than an address.
        let groups = text.split(':').filter(|group| !group.is_empty()).count();
        let likely = groups >= 3 || text.split(':').next().is_some_and(|first| first.len() >= 3);
        if likely && text.parse::<Ipv6Addr>().is_ok() {
            take(start, end);
        }
    }
}

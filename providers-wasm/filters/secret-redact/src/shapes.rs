//! Keys and tokens that are known by their beginning and shape.

/// What the rest of a key is made of.
#[derive(Clone, Copy)]
enum Signs {
    /// Capitals and digits.
    Capitals,
    /// Letters and digits.
    Alphanumeric,
    /// Lower-case hexadecimal.
    Hex,
    /// Letters, digits, `-` and `_`.
    Url,
    /// The same and dots.
    Dotted,
}

impl Signs {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Hex => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            Self::Url => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_',
            Self::Dotted => byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
        }
    }
}

/// Beginning, signs that follow, fewest and most of them.
const SHAPES: [(&str, Signs, usize, usize); 62] = [
    // Cloud access keys.
    ("AKIA", Signs::Capitals, 16, 16),
    ("ASIA", Signs::Capitals, 16, 16),
    ("AIza", Signs::Url, 35, 35),
    ("GOCSPX-", Signs::Url, 28, 28),
    ("ya29.", Signs::Url, 30, 2000),
    ("LTAI", Signs::Alphanumeric, 12, 26),
    ("AKID", Signs::Alphanumeric, 28, 44),
    ("dop_v1_", Signs::Hex, 64, 64),
    ("doo_v1_", Signs::Hex, 64, 64),
    ("v1.0-", Signs::Hex, 24, 160),
    // Model providers.
    ("sk-ant-", Signs::Url, 24, 200),
    ("sk-proj-", Signs::Url, 24, 200),
    ("sk-svcacct-", Signs::Url, 24, 200),
    ("sk-or-v1-", Signs::Hex, 32, 64),
    ("sk-", Signs::Alphanumeric, 20, 96),
    ("hf_", Signs::Alphanumeric, 30, 40),
    ("gsk_", Signs::Alphanumeric, 40, 60),
    ("xai-", Signs::Alphanumeric, 40, 100),
    ("r8_", Signs::Alphanumeric, 37, 40),
    ("pplx-", Signs::Alphanumeric, 40, 64),
    ("nvapi-", Signs::Url, 40, 100),
    // Source code and packages.
    ("ghp_", Signs::Alphanumeric, 36, 255),
    ("gho_", Signs::Alphanumeric, 36, 255),
    ("ghu_", Signs::Alphanumeric, 36, 255),
    ("ghs_", Signs::Alphanumeric, 36, 255),
    ("ghr_", Signs::Alphanumeric, 36, 255),
    ("github_pat_", Signs::Url, 40, 255),
    ("glpat-", Signs::Dotted, 20, 64),
    ("gldt-", Signs::Url, 20, 64),
    ("glrt-", Signs::Url, 20, 64),
    ("npm_", Signs::Alphanumeric, 36, 36),
    ("pypi-", Signs::Url, 60, 400),
    ("rubygems_", Signs::Hex, 48, 48),
    ("dckr_pat_", Signs::Url, 27, 40),
    ("ATATT3", Signs::Url, 60, 300),
    // Chat, mail and telephony.
    ("xoxb-", Signs::Url, 20, 120),
    ("xoxp-", Signs::Url, 20, 120),
    ("xoxa-", Signs::Url, 20, 120),
    ("xoxr-", Signs::Url, 20, 120),
    ("xoxs-", Signs::Url, 20, 120),
    ("xapp-", Signs::Url, 20, 160),
    ("SG.", Signs::Dotted, 60, 72),
    ("SK", Signs::Hex, 32, 32),
    ("key-", Signs::Hex, 32, 32),
    ("re_", Signs::Url, 24, 48),
    // Payments and shops.
    ("sk_live_", Signs::Alphanumeric, 16, 250),
    ("sk_test_", Signs::Alphanumeric, 16, 250),
    ("rk_live_", Signs::Alphanumeric, 16, 250),
    ("rk_test_", Signs::Alphanumeric, 16, 250),
    ("whsec_", Signs::Alphanumeric, 24, 64),
    ("shpat_", Signs::Alphanumeric, 32, 32),
    ("shpss_", Signs::Alphanumeric, 32, 32),
    ("sq0csp-", Signs::Url, 43, 43),
    // Operations.
    ("hvs.", Signs::Url, 24, 250),
    ("dp.pt.", Signs::Alphanumeric, 40, 48),
    ("glsa_", Signs::Url, 36, 60),
    ("glc_", Signs::Url, 36, 250),
    ("dapi", Signs::Hex, 32, 34),
    ("lin_api_", Signs::Alphanumeric, 36, 48),
    ("ntn_", Signs::Alphanumeric, 40, 50),
    ("PMAK-", Signs::Url, 50, 64),
    ("AGE-SECRET-KEY-1", Signs::Capitals, 58, 58),
];

/// Where a provider's key that begins at `at` ends.
pub(crate) fn api_key(piece: &[u8], at: usize) -> Option<usize> {
    let rest = &piece[at..];
    let first = rest.first()?;
    SHAPES.iter().filter(|shape| shape.0.as_bytes()[0] == *first && rest.starts_with(shape.0.as_bytes())).find_map(
        |(beginning, signs, fewest, most)| {
            let body = &rest[beginning.len()..];
            let mut length = body.iter().take(most + 1).take_while(|byte| signs.has(**byte)).count();
            // A full stop ends a sentence.
            while length > 0 && body[length - 1] == b'.' {
                length -= 1;
            }
            let fits = (*fewest..=*most).contains(&length) && is_random(&body[..length]);
            (fits && !body.get(length).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_'))
                .then_some(at + beginning.len() + length)
        },
    )
}

/// Where a JSON web token (RFC 7519) that begins at `at` ends: two parts that are JSON objects in base64url, and a third.
pub(crate) fn json_web_token(piece: &[u8], at: usize) -> Option<usize> {
    let rest = &piece[at..];
    if !rest.starts_with(b"eyJ") {
        return None;
    }
    let mut end = 0;
    for part in 0..3 {
        let length = rest[end..].iter().take_while(|byte| Signs::Url.has(**byte)).count();
        let last = part == 2;
        if length < if last { 16 } else { 12 }
            || (!last && rest.get(end + length) != Some(&b'.'))
            || (part == 1 && !rest[end..].starts_with(b"eyJ"))
        {
            return None;
        }
        end += length + usize::from(!last);
    }
    Some(at + end)
}

/// Whether this looks drawn by lot: not one of the words, runs and fillers that stand in manuals.
pub(crate) fn is_random(value: &[u8]) -> bool {
    if value.len() < 12 {
        return true;
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    digits > 0 && letters > 0 && entropy(value) >= 2.8 && !contains_filler(value)
}

fn contains_filler(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    ["xxxx", "your", "example", "placeholder", "redacted", "dummy", "....", "****", "abcdefghijkl", "1234567890abcdef"]
        .iter()
        .any(|filler| lower.windows(filler.len()).any(|window| window == filler.as_bytes()))
}

/// Bits a byte, by Shannon.
#[allow(clippy::cast_precision_loss)] // of lengths
pub(crate) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let length = value.len() as f64;
    counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length).map(|share| -share * share.log2()).sum()
}

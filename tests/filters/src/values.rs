//! Values for the evaluation sets, made from a seed: `{{kind}}` in a line stands for one. None is anybody's.

use pg_llm_guest::testing::mutation::Random;

/// A line with its values, and where those stand that are to be found.
#[derive(Clone, Debug)]
pub struct Line {
    /// The text.
    pub text: String,
    /// What is to be found, and where.
    pub labels: Vec<(&'static str, std::ops::Range<usize>)>,
}

/// Puts values into a template.
pub fn expand(template: &str, random: &mut Random) -> Line {
    let mut line = Line { text: String::new(), labels: Vec::new() };
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, macro_and_rest) = rest.split_at(at);
        let end = macro_and_rest.find("}}").unwrap_or_else(|| panic!("{template}: a macro is not closed"));
        line.text.push_str(before);
        let (label, value) = value(&macro_and_rest[2..end], random);
        let start = line.text.len();
        line.text.push_str(&value);
        line.labels.extend(label.map(|label| (label, start..line.text.len())));
        rest = &macro_and_rest[end + 2..];
    }
    line.text.push_str(rest);
    line
}

const CAPITALS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SMALL: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const CODE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

fn of(signs: &[u8], count: usize, random: &mut Random) -> String {
    (0..count).map(|_| char::from(signs[random.below(signs.len())])).collect()
}

fn one<'a>(all: &[&'a str], random: &mut Random) -> &'a str {
    all[random.below(all.len())]
}

fn number(from: usize, to: usize, random: &mut Random) -> usize {
    from + random.below(to - from + 1)
}

/// `shape` with digits for `9`.
fn shaped(shape: &str, random: &mut Random) -> String {
    shape.chars().map(|c| if c == '9' { char::from(DIGITS[random.below(10)]) } else { c }).collect()
}

/// Digits cut into groups.
fn grouped(digits: &str, lengths: &[usize], separator: &str) -> String {
    let mut rest = digits;
    let mut groups = Vec::new();
    for length in lengths {
        let (group, more) = rest.split_at((*length).min(rest.len()));
        groups.push(group);
        rest = more;
    }
    groups.join(separator)
}

fn luhn_ok(digits: &str) -> bool {
    let mut sum = 0;
    for (at, c) in digits.chars().rev().enumerate() {
        let mut digit = c.to_digit(10).unwrap();
        if at % 2 == 1 {
            digit *= 2;
            if digit > 9 {
                digit -= 9;
            }
        }
        sum += digit;
    }
    sum % 10 == 0
}

fn with_luhn(body: &str) -> String {
    (0..10).map(|digit| format!("{body}{digit}")).find(|number| luhn_ok(number)).unwrap()
}

fn card(random: &mut Random) -> String {
    let (beginning, length) =
        [("4", 16), ("51", 16), ("55", 16), ("2223", 16), ("37", 15), ("34", 15), ("6011", 16), ("3528", 16), ("62", 16), ("36", 14)]
            [random.below(10)];
    with_luhn(&(beginning.to_owned() + &of(DIGITS, length - 1 - beginning.len(), random)))
}

fn modulo_97(text: &str) -> u64 {
    let digits: String = text.chars().map(|c| c.to_digit(36).unwrap().to_string()).collect();
    digits.bytes().fold(0, |rest, digit| (rest * 10 + u64::from(digit - b'0')) % 97)
}

fn iban(random: &mut Random) -> String {
    let (country, letters, digits) = [
        ("DE", 0, 18),
        ("GB", 4, 14),
        ("FR", 0, 23),
        ("ES", 0, 20),
        ("NL", 4, 10),
        ("CH", 0, 17),
        ("AT", 0, 16),
        ("PL", 0, 24),
        ("NO", 0, 11),
        ("SE", 0, 20),
    ][random.below(10)];
    let account = of(CAPITALS, letters, random) + &of(DIGITS, digits, random);
    let check = 98 - modulo_97(&format!("{account}{country}00"));
    format!("{country}{check:02}{account}")
}

fn date(random: &mut Random) -> (usize, usize, usize) {
    (number(1950, 2005, random), number(1, 12, random), number(1, 28, random))
}

fn weighted(digits: &str, weights: &[u32]) -> u32 {
    digits.chars().zip(weights).map(|(c, weight)| c.to_digit(10).unwrap() * weight).sum()
}

fn cpf(random: &mut Random) -> String {
    let mut digits = of(DIGITS, 9, random);
    for _ in 0..2 {
        let from = u32::try_from(digits.len()).unwrap() + 1;
        let weights: Vec<u32> = (2..=from).rev().collect();
        let rest = weighted(&digits, &weights) % 11;
        digits += &(if rest < 2 { 0 } else { 11 - rest }).to_string();
    }
    digits
}

/// Verhoeff's check digit, by its definition: the permutation applied again and again, the group of the pentagon's symmetries.
fn with_verhoeff(body: &str) -> String {
    fn times(a: u32, b: u32) -> u32 {
        // Rotations are 0 to 4, reflections 5 to 9.
        let (ra, fa, rb, fb) = (a % 5, a / 5, b % 5, b / 5);
        (if fa == 0 { (ra + rb) % 5 } else { (ra + 5 - rb) % 5 }) + 5 * (fa ^ fb)
    }
    const PERMUTATION: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let check = |number: &str| {
        number.chars().rev().enumerate().fold(0, |sum, (at, c)| {
            let digit = (0..at).fold(c.to_digit(10).unwrap(), |digit, _| PERMUTATION[digit as usize]);
            times(sum, digit)
        })
    };
    (0..10).map(|digit| format!("{body}{digit}")).find(|number| check(number) == 0).unwrap()
}

fn steuer(random: &mut Random) -> String {
    // Nine different digits and one of them again, the first no 0.
    let mut digits: Vec<u8> = b"1234567890".to_vec();
    for at in (1..10).rev() {
        digits.swap(at, random.below(at + 1));
    }
    digits[9] = digits[random.below(9)];
    if digits[0] == b'0' {
        let other = digits.iter().position(|digit| *digit != b'0').unwrap();
        digits.swap(0, other);
    }
    let mut product = 10;
    for digit in &digits {
        let sum = match (u32::from(digit - b'0') + product) % 10 {
            0 => 10,
            sum => sum,
        };
        product = sum * 2 % 11;
    }
    let check = match 11 - product {
        10 => 0,
        check => check,
    };
    format!("{}{check}", String::from_utf8(digits).unwrap())
}

fn china(random: &mut Random) -> String {
    let (year, month, day) = date(random);
    let body = format!("{}{year}{month:02}{day:02}{}", one(&["110105", "310104", "440305", "510107"], random), of(DIGITS, 3, random));
    let sum = weighted(&body, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    body + &"10X98765432"[(sum % 11) as usize..=(sum % 11) as usize]
}

fn fiscal(random: &mut Random) -> String {
    const ODD: [u32; 36] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let (year, _, day) = date(random);
    let month = one(&["A", "B", "C", "D", "E", "H", "L", "M", "P", "R", "S", "T"], random);
    let body = format!(
        "{}{:02}{month}{day:02}{}{}",
        of(b"BCDFGLMNPRSTVZ", 6, random),
        year % 100,
        one(&["H", "F", "A", "L"], random),
        of(DIGITS, 3, random)
    );
    let sum: u32 = body
        .chars()
        .enumerate()
        .map(|(at, c)| {
            let value = c.to_digit(36).unwrap();
            match at % 2 {
                0 => ODD[value as usize],
                _ if value < 10 => value,
                _ => value - 10,
            }
        })
        .sum();
    format!("{body}{}", char::from(CAPITALS[(sum % 26) as usize]))
}

fn spanish(number: u64) -> char {
    char::from(b"TRWAGMYFPDXBNJZSQVHLCKE"[usize::try_from(number % 23).unwrap()])
}

fn octets(random: &mut Random) -> String {
    let first = [10, 192, 172, 203, 85, 141, 31, 77, 198][random.below(9)];
    format!("{first}.{}.{}.{}", number(0, 255, random), number(0, 255, random), number(1, 254, random))
}

fn mail(random: &mut Random) -> String {
    let first = one(&["anna", "bob.miller", "j.doe", "maria_lopez", "wei-chen", "o'hara", "kim99", "support+42", "Petra.Schmidt"], random);
    let host = one(&["example.com", "mail.example.org", "uni-example.de", "example.co.uk", "correo.example.es", "example.travel"], random);
    format!("{first}{}@{host}", of(DIGITS, 2, random))
}

/// A value of a kind: what it is to be found as, and its text. Kinds that begin with `no_` are not to be found.
fn value(kind: &str, random: &mut Random) -> (Option<&'static str>, String) {
    let r = random;
    let found = |label, text| (Some(label), text);
    match kind {
        "email" => found("email", mail(r)),
        "email_idn" => found("email", format!("jürgen{}@müller-example.de", of(DIGITS, 2, r))),
        "phone_intl" => found(
            "phone",
            shaped(
                one(
                    &[
                        "+49 30 99999999",
                        "+44 20 7999 9999",
                        "+1 212 555 9999",
                        "+33 1 99 99 99 99",
                        "+86 138 9999 9999",
                        "+91 98999 99999",
                        "+34 699 999 999",
                        "+493099999999",
                    ],
                    r,
                ),
                r,
            ),
        ),
        "phone_us" => {
            found("phone", shaped(one(&["(212) 555-9999", "415-555-9999", "646.555.9999", "1-800-555-9999", "(305)555-9999"], r), r))
        }
        "phone_fr" => found("phone", shaped(one(&["01 99 99 99 99", "06.99.99.99.99", "07 99 99 99 99"], r), r)),
        "phone_de" => found("phone", shaped(one(&["030 9999999", "0171 9999999", "089/9999999", "0221 999999"], r), r)),
        "phone_uk" => found("phone", shaped(one(&["020 7999 9999", "07700 999999", "0161 999 9999"], r), r)),
        "phone_cn" => found("phone", shaped(one(&["13899999999", "15999999999", "18699999999"], r), r)),
        "phone_local" => found("phone", shaped(one(&["555-9999", "5559999", "699 999 999", "9999 9999"], r), r)),
        "card" => found("card", card(r)),
        "card_spaced" => found("card", grouped(&with_luhn(&("4".to_owned() + &of(DIGITS, 14, r))), &[4, 4, 4, 4], " ")),
        "card_dashed" => found("card", grouped(&with_luhn(&("53".to_owned() + &of(DIGITS, 13, r))), &[4, 4, 4, 4], "-")),
        "card_amex" => found("card", grouped(&with_luhn(&("37".to_owned() + &of(DIGITS, 12, r))), &[4, 6, 5], " ")),
        "card_wide" => found("card", card(r).chars().map(|c| char::from_u32(u32::from(c) + 0xFEE0).unwrap()).collect()),
        "card_joined" => found("card", card(r).chars().map(String::from).collect::<Vec<_>>().join("\u{200D}")),
        "card_nbsp" => found("card", grouped(&with_luhn(&("4".to_owned() + &of(DIGITS, 14, r))), &[4, 4, 4, 4], "\u{A0}")),
        "card_arabic" => found("card", card(r).chars().map(|c| char::from_u32(u32::from(c) - 0x30 + 0x660).unwrap()).collect()),
        "iban" => found("iban", iban(r)),
        "iban_spaced" => {
            found("iban", iban(r).as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap()).collect::<Vec<_>>().join(" "))
        }
        "iban_small" => found("iban", iban(r).to_lowercase()),
        "ssn" => found("national_id", format!("{}-{:02}-{:04}", number(100, 665, r), number(1, 99, r), number(1, 9999, r))),
        "ssn_bare" => found("national_id", format!("{}{:02}{:04}", number(100, 665, r), number(1, 99, r), number(1, 9999, r))),
        "nino" => found(
            "national_id",
            format!(
                "{} {:02} {:02} {:02} {}",
                one(&["AB", "JG", "WK", "SN", "CE"], r),
                r.below(100),
                r.below(100),
                r.below(100),
                one(&["A", "B", "C", "D"], r)
            ),
        ),
        "dni" => {
            let number = 10_000_000 + r.below(89_999_999) as u64;
            found("national_id", format!("{number}{}", spanish(number)))
        }
        "nie" => {
            let number = r.below(9_999_999) as u64;
            let first = r.below(3) as u64;
            found(
                "national_id",
                format!("{}{number:07}{}", ["X", "Y", "Z"][usize::try_from(first).unwrap()], spanish(first * 10_000_000 + number)),
            )
        }
        "nir" => {
            let (year, month, _) = date(r);
            let body = format!("{}{:02}{month:02}{:02}{}", number(1, 2, r), year % 100, number(1, 95, r), of(DIGITS, 6, r));
            let key = 97 - modulo_97(&body);
            let digits = format!("{body}{key:02}");
            found("national_id", if r.below(2) == 0 { digits } else { grouped(&digits, &[1, 2, 2, 2, 3, 3, 2], " ") })
        }
        "fiscal" => found("national_id", fiscal(r)),
        "steuer" => found("national_id", steuer(r)),
        "steuer_spaced" => found("national_id", grouped(&steuer(r), &[2, 3, 3, 3], " ")),
        "pnr" => {
            let (year, month, day) = date(r);
            let number = with_luhn(&format!("{:02}{month:02}{day:02}{}", year % 100, of(DIGITS, 3, r)));
            found("national_id", grouped(&number, &[6, 4], "-"))
        }
        "cnid" => found("national_id", china(r)),
        "aadhaar" => found("national_id", grouped(&with_verhoeff(&format!("{}{}", number(2, 9, r), of(DIGITS, 10, r))), &[4, 4, 4], " ")),
        "cpf" => {
            let d = cpf(r);
            found("national_id", format!("{}.{}.{}-{}", &d[..3], &d[3..6], &d[6..9], &d[9..]))
        }
        "ipv4" => found("ip", octets(r)),
        "ipv6" => found(
            "ip",
            match r.below(3) {
                0 => format!("2001:db8:{}:{}::{}", of(HEX, 4, r), of(HEX, 3, r), number(1, 99, r)),
                1 => format!("2001:db8:{}", (0..6).map(|_| format!("{}{}", number(1, 9, r), of(HEX, 3, r))).collect::<Vec<_>>().join(":")),
                _ => format!("fe80::{}:{}", of(HEX, 4, r), of(HEX, 4, r)),
            },
        ),
        // Look-alikes.
        "no_card" => (None, {
            let card = card(r);
            let last = (card.as_bytes()[card.len() - 1] - b'0' + 1 + u8::try_from(r.below(9)).unwrap()) % 10;
            format!("{}{last}", &card[..card.len() - 1])
        }),
        "no_card_spaced" => (None, {
            let body = format!("4{}", of(DIGITS, 14, r));
            let good = with_luhn(&body).as_bytes()[15] - b'0';
            grouped(&format!("{body}{}", (good + 1 + u8::try_from(r.below(8)).unwrap()) % 10), &[4, 4, 4, 4], " ")
        }),
        "no_iban" => (None, {
            let iban = iban(r);
            let check = iban[2..4].parse::<u32>().unwrap();
            format!("{}{:02}{}", &iban[..2], (check + 7) % 97 + 2, &iban[4..])
        }),
        "no_dni" => (None, {
            let number = 10_000_000 + r.below(89_999_999) as u64;
            format!("{number}{}", spanish(number + 5))
        }),
        "no_order" => (None, of(b"123456789", 1, r) + &of(DIGITS, number(7, 11, r), r)),
        "no_uuid" => (None, format!("{}-{}-4{}-a{}-{}", of(HEX, 8, r), of(HEX, 4, r), of(HEX, 3, r), of(HEX, 3, r), of(HEX, 12, r))),
        "no_hash" => (None, of(HEX, [32, 40, 64][r.below(3)], r)),
        "no_version" => (None, format!("{}.{}.{}", number(0, 30, r), number(0, 20, r), number(0, 99, r))),
        "no_version4" => (None, format!("{}.{}.{}.{}", number(1, 130, r), number(0, 20, r), number(0, 99, r), number(0, 99, r))),
        "no_date" => (None, format!("{}-{:02}-{:02}", number(1990, 2030, r), number(1, 12, r), number(1, 28, r))),
        "no_time" => (None, format!("{:02}:{:02}:{:02}", r.below(24), r.below(60), r.below(60))),
        "no_timestamp" => (None, format!("17{}", of(DIGITS, 11, r))),
        "no_float" => (None, format!("{}.{}", r.below(100), of(DIGITS, 15, r))),
        "no_isbn" => (None, format!("978-{}-{}-{}-{}", r.below(10), of(DIGITS, 2, r), of(DIGITS, 6, r), r.below(10))),
        "no_mac" => (None, (0..6).map(|_| of(HEX, 2, r)).collect::<Vec<_>>().join(":")),
        "no_big" => (None, of(b"123456789", 1, r) + &of(DIGITS, number(20, 40, r), r)),
        _ => secret(kind, r).unwrap_or_else(|| panic!("no such kind: {kind}")),
    }
}

/// Secrets: `key:BEGINNING:ALPHABET:COUNT` is a provider's key (written so, because a whole one in a file would be reported by whoever watches for them).
fn secret(kind: &str, r: &mut Random) -> Option<(Option<&'static str>, String)> {
    if let Some(shape) = kind.strip_prefix("key:") {
        let mut parts = shape.rsplitn(3, ':');
        let (count, alphabet, beginning) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        return Some((Some("api_key"), beginning.to_owned() + &random_text(alphabet, count, r)));
    }
    if let Some(shape) = kind.strip_prefix("password:") {
        let (alphabet, count) = shape.split_once(':')?;
        return Some((Some("password"), random_text(alphabet, count.parse().ok()?, r)));
    }
    if let Some(shape) = kind.strip_prefix("token:") {
        let (alphabet, count) = shape.split_once(':')?;
        return Some((Some("token"), random_text(alphabet, count.parse().ok()?, r)));
    }
    if let Some(shape) = kind.strip_prefix("no_random:") {
        let (alphabet, count) = shape.split_once(':')?;
        return Some((None, random_text(alphabet, count.parse().ok()?, r)));
    }
    Some(match kind {
        "jwt" => {
            let head = one(&["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJhbGciOiJSUzI1NiJ9"], r);
            (Some("token"), format!("{head}.eyJ{}.{}", of(ALPHANUMERIC, 60, r), of(ALPHANUMERIC, 43, r)))
        }
        "basic" => {
            use pg_llm_guest::base64::Engine as _;
            let plain = format!("{}:{}", of(SMALL, 6, r), of(ALPHANUMERIC, 12, r));
            (Some("token"), pg_llm_guest::base64::engine::general_purpose::STANDARD.encode(plain))
        }
        "human_password" => {
            let word = one(&["Winter", "monkey", "Berlin", "qwerty", "Summer!", "p4ssw0rd", "hunter"], r);
            (Some("password"), format!("{word}{}", of(b"23456789", 3, r)))
        }
        "pem" => {
            let kind = one(&["RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"], r);
            let body: Vec<String> = (0..number(3, 25, r)).map(|_| of(ALPHANUMERIC, 64, r)).collect();
            (Some("private_key"), format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----", body.join("\n")))
        }
        "pem_escaped" => {
            let body: Vec<String> = (0..number(3, 25, r)).map(|_| of(ALPHANUMERIC, 64, r)).collect();
            (Some("private_key"), format!("-----BEGIN PRIVATE KEY-----\\n{}\\n-----END PRIVATE KEY-----", body.join("\\n")))
        }
        "no_pem" => {
            let body: Vec<String> = (0..number(3, 12, r)).map(|_| of(ALPHANUMERIC, 64, r)).collect();
            (None, format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", body.join("\n")))
        }
        _ => return None,
    })
}

/// Random signs among which there is a letter and a digit.
fn random_text(alphabet: &str, count: usize, r: &mut Random) -> String {
    let signs = match alphabet {
        "hex" => HEX,
        "code" => CODE,
        "any" => ALPHANUMERIC,
        "url" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        "signs" => b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789!#%+=-_",
        "base64" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        _ => panic!("no such alphabet: {alphabet}"),
    };
    loop {
        let text = of(signs, count, r);
        let edge = |c: char| c.is_ascii_alphanumeric();
        if text.contains(|c: char| c.is_ascii_digit())
            && text.contains(|c: char| c.is_ascii_alphabetic())
            && text.starts_with(edge)
            && text.ends_with(edge)
        {
            return text;
        }
    }
}

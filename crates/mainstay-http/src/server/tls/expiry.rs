//! When a certificate ends: the one thing that is asked of its inside (RFC 5280, section 4.1).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// `notAfter`; `None` for what is no certificate in DER.
pub(super) fn of(certificate: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = inside(certificate, SEQUENCE)?;
    let (mut fields, _) = inside(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = inside(fields, VERSION)?.1;
    }
    // The serial number, the algorithm, the issuer.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = inside(fields, tag)?.1;
    }
    let (validity, _) = inside(fields, SEQUENCE)?;
    let (_, _, after) = parts(validity)?;
    let (tag, text, _) = parts(after)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The content of the first element, which must have this tag, and what follows it.
fn inside(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = parts(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content and rest.
fn parts(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, mut der) = der.split_first()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        // Four bytes of length are more than any file here has.
        0x81..=0x84 => {
            let (digits, rest) = der.split_at_checked(usize::from(first & 0x7f))?;
            der = rest;
            digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit))
        }
        _ => return None,
    };
    let (content, rest) = der.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` after that.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    let digits =
        text.strip_suffix('Z').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let (year, rest) = match tag {
        UTC_TIME if digits.len() == 12 => {
            let year: i16 = digits[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        GENERALIZED_TIME if digits.len() == 14 => (digits[..4].parse().ok()?, &digits[4..]),
        _ => return None,
    };
    let two = |at: usize| rest[at..at + 2].parse::<i8>().ok();
    let time = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 4);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn the_end_is_read_in_both_forms_of_time() {
        for year in [2026, 2049, 2050, 4096] {
            let ends = of(&certificate(year)).unwrap();
            assert_eq!(ends.to_string(), format!("{year}-03-04T00:00:00Z"));
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_no_certificate_and_no_panic() {
        let good = certificate(2030);
        for length in 0..200 {
            assert_eq!(of(&good[..length]), None, "{length}");
        }
        for at in 0..good.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = of(&bad);
            }
        }
    }
}

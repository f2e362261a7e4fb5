//! `NUMERIC`, which sums of `BIGINT` are, from its binary form.

use crate::Value;

/// Sign, and what is not a number at all, in the third word of four before the digits.
const NEGATIVE: u16 = 0x4000;

/// One without decimal places is an integer if it fits; every other is a real number. `None` for bytes that are no
/// finite number.
pub(super) fn value(bytes: &[u8]) -> Option<Value> {
    let words: Vec<_> = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect();
    let [_, weight, sign, scale, digits @ ..] = &words[..] else { return None };
    if *sign != 0 && *sign != NEGATIVE {
        return None;
    }
    let weight = i32::from(weight.cast_signed());
    let negative = *sign == NEGATIVE;
    if *scale == 0
        && let Some(integer) = integer(digits, weight, negative)
    {
        return Some(Value::Int(integer));
    }
    let mut text = String::from(if negative { "-0." } else { "0." });
    digits.iter().for_each(|digit| text.push_str(&format!("{digit:04}")));
    text.push_str(&format!("e{}", (weight + 1) * 4));
    text.parse().ok().filter(|real: &f64| real.is_finite()).map(Value::Real)
}

/// Digits are to the base of 10,000, the first times that to the power of `weight`.
fn integer(digits: &[u16], weight: i32, negative: bool) -> Option<i64> {
    let mut sum = 0_i64;
    for place in 0..=weight {
        let digit = usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
        let digit = if negative { -i64::from(digit) } else { i64::from(digit) };
        sum = sum.checked_mul(10_000)?.checked_add(digit)?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::value;
    use crate::Value;

    fn numeric(weight: i16, sign: u16, scale: u16, digits: &[u16]) -> Option<Value> {
        let head = [0, weight.cast_unsigned(), sign, scale];
        value(&head.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn a_whole_number_is_an_integer_and_a_fraction_is_real() {
        assert_eq!(numeric(0, 0, 0, &[]), Some(Value::Int(0)));
        assert_eq!(numeric(1, 0, 0, &[12, 3456]), Some(Value::Int(123_456)));
        assert_eq!(numeric(1, 0, 0, &[2]), Some(Value::Int(20_000)));
        assert_eq!(numeric(4, 0x4000, 0, &[922, 3372, 368, 5477, 5808]), Some(Value::Int(i64::MIN)));
        assert_eq!(
            numeric(4, 0, 0, &[922, 3372, 368, 5477, 5808]),
            Some(Value::Real(9_223_372_036_854_775_808.0))
        );
        assert_eq!(numeric(0, 0x4000, 2, &[1, 2500]), Some(Value::Real(-1.25)));
        assert_eq!(numeric(-1, 0, 4, &[1]), Some(Value::Real(0.0001)));
        assert_eq!(numeric(0, 0xc000, 0, &[]), None, "not a number");
        assert_eq!(value(&[0, 1]), None);
    }
}

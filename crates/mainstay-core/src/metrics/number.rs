//! Numbers as Prometheus reads them.

/// The largest integer up to which every integer is exact in an `f64`.
const EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn push_u64(out: &mut String, value: u64) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// A sample's value: integers without a fraction, else the shortest text that reads back the same.
pub(super) fn push_f64(out: &mut String, value: f64) {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 fits")]
    if value.fract() == 0.0 && value.abs() < EXACT && (value != 0.0 || value.is_sign_positive()) {
        out.push_str(itoa::Buffer::new().format(value as i64));
    } else if let Some(name) = not_finite(value) {
        out.push_str(name);
    } else {
        out.push_str(zmij::Buffer::new().format_finite(value));
    }
}

/// The names of what is no number; `None` for a finite value.
pub(super) fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        v if v.is_nan() => Some("NaN"),
        f64::INFINITY => Some("+Inf"),
        f64::NEG_INFINITY => Some("-Inf"),
        _ => None,
    }
}

/// The value of an `le` or `quantile` label. OpenMetrics wants the fraction (`1.0`); both formats use
/// it, so that a change of format does not rename a series.
pub(super) fn label(value: f64) -> String {
    not_finite(value).map_or_else(|| zmij::Buffer::new().format_finite(value).to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_the_same() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0.0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1e300, "1e+300"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (5e-324, "5e-324"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            let mut out = String::new();
            push_f64(&mut out, value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn label_values_keep_their_fraction() {
        assert_eq!([label(1.0), label(0.005), label(f64::INFINITY)], ["1.0", "0.005", "+Inf"]);
    }
}

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;

fn read(one: Option<&str>, ring: Option<&str>) -> Result<Option<KeyRing>, KeyError> {
    KeyRing::parse(one.map(secret).as_ref(), ring.map(secret).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_is_read_from_hexadecimal_and_from_base64_of_each_kind() {
    // Bytes whose base64 has letters that the alphabets do not share.
    let bytes: [u8; 32] = std::array::from_fn(|at| if at % 3 == 0 { 0xfb } else { 0xff });
    let place = Place::new("n", "p", "r");
    let text = |text: String| Sealer::new(&read(Some(&text), None).unwrap().unwrap());
    let sealed = text(hex(&bytes)).seal(&place, b"kept").unwrap();
    for form in [
        hex(&bytes).to_uppercase(),
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        format!(" {}\n", hex(&bytes)),
    ] {
        assert!(text(form.clone()).open(&place, &sealed).is_ok(), "{form}");
    }
}

#[test]
fn a_single_key_opens_from_a_ring_that_names_it_default() {
    let sealed = Sealer::new(&read(Some(OLD), None).unwrap().unwrap()).seal(&PLACE, b"kept").unwrap();
    let ring = ring(&format!("new:{NEW},{SINGLE}:{OLD}"));
    assert_eq!(ring.ids().collect::<Vec<_>>(), ["new", "default"]);
    assert!(Sealer::new(&ring).open(&PLACE, &sealed).is_ok());
}

#[test]
fn what_is_wrong_with_the_keys_is_said_without_them() {
    assert!(read(None, None).unwrap().is_none());
    let many: Vec<String> = (0..33_u8).map(|at| format!("k{at}:{}", hex(&[at; 32]))).collect();
    let long = format!("{}:{OLD}", "x".repeat(129));
    for (one, ring, says) in [
        (Some(OLD), Some("a:b"), "cannot both be set"),
        (Some(""), None, "key default is not 32 bytes"),
        (Some(&OLD[..62]), None, "key default is not 32 bytes"),
        (Some(&OLD.replace('8', "g")), None, "key default is not 32 bytes"),
        (Some(&NEW.replace("u1", "u!")), None, "key default is not 32 bytes"),
        (Some(&NEW[..40]), None, "key default is not 32 bytes"),
        (None, Some(""), "is `id:key,id:key`"),
        (None, Some(OLD), "is `id:key,id:key`"),
        (None, Some(&format!("a:{OLD},")), "is `id:key,id:key`"),
        (None, Some(&format!(":{OLD}")), "id of key number 1"),
        (None, Some(&format!("a:{OLD},b c:{NEW}")), "id of key number 2"),
        (None, Some(&long), "id of key number 1"),
        (None, Some(&format!("a:{OLD},b:{}", &NEW[..9])), "key b is not 32 bytes"),
        (None, Some(&format!("a:{OLD},a:{NEW}")), "two keys have the id a"),
        (None, Some(&format!("a:{OLD},b:{}", OLD.to_uppercase())), "a and b are the same key"),
        (None, Some(&many.join(",")), "at most 32 keys"),
    ] {
        let error = read(one, ring).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(says), "{shown:?} does not say {says:?}");
        assert!(!shown.contains(&OLD[..8]) && !shown.contains(&NEW[..8]), "{shown}");
    }
    assert!(read(None, Some(&many[1..].join(","))).is_ok());
}

#[test]
fn keys_that_somebody_thought_up_are_told() {
    let series: Vec<u8> = (0..32).collect();
    let down: Vec<u8> = (0..32).map(|at: u8| 255_u8.wrapping_sub(at.wrapping_mul(7))).collect();
    let halves = hex(&[[1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 121, 98, 219, 61]; 2].concat());
    for (key, why) in [
        (hex(&[0; 32]), "all of its bytes are equal"),
        (hex(&[0xaa; 32]), "all of its bytes are equal"),
        ("0123456789abcdef".repeat(4), "few of its bytes differ"),
        (hex(&series), "its bytes are a series"),
        (hex(&down), "its bytes are a series"),
        (halves, "its halves are equal"),
        (STANDARD.encode(b"The quick brown fox jumps over 1"), "it is text"),
    ] {
        let ring = ring(&format!("good:{OLD},bad:{key}"));
        let error = ring.check_strength().unwrap_err();
        assert_eq!(error, KeyError::Weak { id: "bad".to_owned(), why }, "{key}");
    }
    assert_eq!(ring(&format!("a:{OLD},b:{NEW}")).check_strength(), Ok(()));
}

#[test]
fn no_formatter_shows_a_key() {
    let keys = ring(&format!("old:{OLD},new:{NEW}"));
    let sealer = Sealer::new(&keys);
    let sealed = sealer.seal(&PLACE, b"canary-plain").unwrap();
    let opened = sealer.open(&Place::new("x", "y", "z"), &sealed).unwrap_err();
    let shown = format!("{keys:?} {keys:#?} {sealer:?} {sealer:#?} {:?} {opened:?} {PLACE:?}", keys.0);
    assert!(shown.contains("old"));
    let bytes: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&OLD[at..at + 2], 16).unwrap()).collect();
    let listed = format!("{:?}", &bytes[..4]);
    for canary in [&OLD[..8], &NEW[..8], "canary-plain", listed.trim_matches(['[', ']'])] {
        assert!(!shown.contains(canary), "{canary} is in {shown}");
    }
}

proptest! {
    #[test]
    fn random_keys_are_strong_and_read_back(bytes in any::<[u8; 32]>()) {
        prop_assume!(bytes.iter().collect::<std::collections::BTreeSet<_>>().len() >= 16);
        prop_assert_eq!(ring(&format!("a:{}", hex(&bytes))).check_strength(), Ok(()));
        let both = read(None, Some(&format!("a:{},b:{}", hex(&bytes), STANDARD.encode(bytes))));
        prop_assert_eq!(both.unwrap_err(), KeyError::SameKey { first: "a".to_owned(), second: "b".to_owned() });
    }

    #[test]
    fn no_text_panics(text in any::<String>(), near in "[a-f0-9+/=_:, -]{0,90}") {
        for text in [&text, &near] {
            let _ = read(Some(text), None);
            let _ = read(None, Some(text));
        }
    }
}

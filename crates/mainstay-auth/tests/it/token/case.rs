//! Tokens, good and bad, told apart by what was done to them.

use mainstay_core::config::JwtAlgorithm;
use ring::hmac;

use crate::keys::{self, base64url, mac, name};

pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "orders";
pub(super) const LEEWAY: i64 = 30;
pub(super) const LIFETIME: i64 = 3_600;

/// Names and JSON texts, in their order.
pub(super) type Members = Vec<(String, String)>;

/// A token in the making.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) what: String,
    pub(super) header: Members,
    pub(super) claims: Members,
    pub(super) signed: Signed,
    pub(super) form: Form,
}

/// By what it is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// By the key of its algorithm.
    Well,
    /// By nothing.
    Not,
    /// By an HMAC whose secret is the public key, as anybody can.
    WithPublicKey,
    /// By an HMAC with no secret.
    WithNothing,
    /// Well, and then a bit was changed.
    Flipped,
    /// Well, but the end is missing.
    Cut,
    /// Well, with something behind.
    Longer,
    /// Something else was signed.
    OfSomethingElse,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Padded,
    OtherAlphabet,
    BitsLeftOver,
    SpaceBefore,
    LineAfter,
    SpaceInside,
    TwoParts,
    FourParts,
    NoClaims,
    HeaderIsList,
    ClaimsAreList,
    ClaimsAreText,
    CommaTooMuch,
    MoreBehind,
    ByteOrderMark,
    NotUtf8,
    TooLong,
    Encrypted,
}

pub(super) const FORMS: [Form; 18] = [
    Form::Padded,
    Form::OtherAlphabet,
    Form::BitsLeftOver,
    Form::SpaceBefore,
    Form::LineAfter,
    Form::SpaceInside,
    Form::TwoParts,
    Form::FourParts,
    Form::NoClaims,
    Form::HeaderIsList,
    Form::ClaimsAreList,
    Form::ClaimsAreText,
    Form::CommaTooMuch,
    Form::MoreBehind,
    Form::ByteOrderMark,
    Form::NotUtf8,
    Form::TooLong,
    Form::Encrypted,
];

pub(super) const SIGNED: [Signed; 7] = [
    Signed::Not,
    Signed::WithPublicKey,
    Signed::WithNothing,
    Signed::Flipped,
    Signed::Cut,
    Signed::Longer,
    Signed::OfSomethingElse,
];

pub(super) fn text(value: &str) -> String {
    serde_json::to_string(value).unwrap()
}

pub(super) fn members<const N: usize>(all: [(&str, String); N]) -> Members {
    all.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// One in which nothing is wrong.
pub(super) fn good(algorithm: JwtAlgorithm, key: &str, now: i64) -> Case {
    Case {
        what: "good".to_owned(),
        header: members([("alg", text(&name(algorithm))), ("typ", text("JWT")), ("kid", text(key))]),
        claims: members([
            ("iss", text(ISSUER)),
            ("sub", text("user-1")),
            ("aud", text(AUDIENCE)),
            ("exp", (now + 600).to_string()),
            ("nbf", (now - 10).to_string()),
            ("iat", (now - 10).to_string()),
            ("jti", text("token-1")),
            ("sid", text("session-1")),
            ("roles", r#"["admin","user"]"#.to_owned()),
        ]),
        signed: Signed::Well,
        form: Form::Plain,
    }
}

fn object(members: &Members) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

impl Case {
    /// The token. `sign` signs by the key of its algorithm.
    pub(super) fn token(&self, algorithm: JwtAlgorithm, sign: &dyn Fn(&[u8]) -> Vec<u8>) -> String {
        let (mut header, mut claims) = (object(&self.header).into_bytes(), object(&self.claims).into_bytes());
        match self.form {
            Form::HeaderIsList => header = format!("[{}]", object(&self.header)).into_bytes(),
            Form::ClaimsAreList => claims = format!("[{}]", object(&self.claims)).into_bytes(),
            Form::ClaimsAreText => claims = text(&object(&self.claims)).into_bytes(),
            Form::CommaTooMuch => claims.splice(claims.len() - 1.., *b",}").for_each(drop),
            Form::MoreBehind => claims.extend(b"{}"),
            Form::ByteOrderMark => claims.splice(..0, *b"\xef\xbb\xbf").for_each(drop),
            Form::NotUtf8 => claims.splice(claims.len() - 1.., *b",\"x\":\"\xff\"}").for_each(drop),
            Form::TooLong => {
                let filler = format!(",\"x\":\"{}\"}}", "x".repeat(8_192));
                claims.splice(claims.len() - 1.., filler.into_bytes()).for_each(drop);
            }
            // A header whose last group has bits to spare.
            Form::BitsLeftOver | Form::Padded => {
                while header.len() % 3 == 0 {
                    header.push(b' ');
                }
            }
            Form::OtherAlphabet => {
                claims
                    .splice(claims.len() - 1.., *b",\"x\":\"\xef\xbf\xbf\xef\xbf\xbf>>>???\"}")
                    .for_each(drop);
            }
            _ => {}
        }
        let (mut header, mut claims) = (base64url(header), base64url(claims));
        match self.form {
            Form::BitsLeftOver => {
                let last = header.pop().unwrap();
                header.push(char::from(last as u8 + 1));
            }
            Form::Padded => header.push_str(if header.len() % 4 == 2 { "==" } else { "=" }),
            Form::OtherAlphabet => claims = claims.replace('-', "+").replace('_', "/"),
            Form::NoClaims => claims.clear(),
            Form::SpaceInside => claims.insert(4, ' '),
            _ => {}
        }
        let message = format!("{header}.{claims}");
        let signature = base64url(self.signature(algorithm, message.as_bytes(), sign));
        match self.form {
            Form::TwoParts => message,
            Form::FourParts => format!("{message}.{signature}.{signature}"),
            Form::Encrypted => format!("{message}.{signature}.{signature}.{signature}"),
            Form::SpaceBefore => format!(" {message}.{signature}"),
            Form::LineAfter => format!("{message}.{signature}\n"),
            _ => format!("{message}.{signature}"),
        }
    }

    fn signature(&self, algorithm: JwtAlgorithm, message: &[u8], sign: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        let public = keys::pair(algorithm).map_or("", |(_, public)| public).as_bytes();
        match self.signed {
            Signed::Well => sign(message),
            Signed::Not => Vec::new(),
            Signed::WithPublicKey => mac(hmac::HMAC_SHA256, public, message),
            Signed::WithNothing => mac(hmac::HMAC_SHA256, b"", message),
            Signed::OfSomethingElse => sign(b"something else"),
            Signed::Flipped => {
                let mut signature = sign(message);
                let middle = signature.len() / 2;
                signature[middle] ^= 1;
                signature
            }
            Signed::Cut => sign(message).split_last().unwrap().1.to_vec(),
            Signed::Longer => [sign(message), vec![0]].concat(),
        }
    }

    /// The same with another value of a header or claim, or without it.
    pub(super) fn with(mut self, part: Part, name: &str, value: Option<&str>) -> Self {
        let members = match part {
            Part::Header => &mut self.header,
            Part::Claims => &mut self.claims,
        };
        let place = members.iter().position(|(other, _)| other == name);
        match (place, value) {
            (Some(place), Some(value)) => value.clone_into(&mut members[place].1),
            (Some(place), None) => drop(members.remove(place)),
            (None, Some(value)) => members.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
        self.named(&format!("{part:?} {name} {}", value.unwrap_or("missing")))
    }

    /// The same with one more member, whatever is there.
    pub(super) fn and(mut self, part: Part, name: &str, value: &str) -> Self {
        match part {
            Part::Header => self.header.push((name.to_owned(), value.to_owned())),
            Part::Claims => self.claims.push((name.to_owned(), value.to_owned())),
        }
        self.named(&format!("{part:?} and {name} {value}"))
    }

    pub(super) fn named(mut self, what: &str) -> Self {
        let what: String = what.chars().take(80).collect();
        self.what = format!("{}; {what}", self.what);
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Header,
    Claims,
}

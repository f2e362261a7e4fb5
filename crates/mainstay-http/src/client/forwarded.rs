//! The entries of the two headers, the last one first. `None` stands for one that is no address.
//!
//! Entries are cut out of the bytes from the right: what a client wrote at the left, be it an open quote or
//! bytes that are no text, cannot change how the entries of the proxies are read.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderValue;
use http::header::GetAll;

pub(super) fn x_forwarded_for(lines: GetAll<'_, HeaderValue>) -> impl Iterator<Item = Option<IpAddr>> {
    lines
        .into_iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .map(|entry| address(entry.trim_ascii()))
}

pub(super) fn forwarded(lines: GetAll<'_, HeaderValue>) -> impl Iterator<Item = Option<IpAddr>> {
    lines.into_iter().rev().flat_map(|line| rsplit_unquoted(line.as_bytes(), b',')).map(node)
}

/// The address in the `for` of one element: `for=192.0.2.43;proto=https`, `For="[2001:db8::1]:4711"`. An
/// element with two of them says nothing.
fn node(element: &[u8]) -> Option<IpAddr> {
    let mut named = rsplit_unquoted(element, b';').filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        name.trim_ascii().eq_ignore_ascii_case(b"for").then(|| value[1..].trim_ascii())
    });
    let value = named.next().filter(|_| named.next().is_none())?;
    address(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// Splits where the separator is not in a quoted string, from the right.
fn rsplit_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let cut = (0..text.len()).rev().find(|&at| {
            quoted ^= text[at] == b'"' && !(quoted && escaped(text, at));
            text[at] == separator && !quoted
        });
        rest = cut.map(|at| &text[..at]);
        Some(cut.map_or(text, |at| &text[at + 1..]))
    })
}

fn escaped(text: &[u8], at: usize) -> bool {
    text[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &[u8]) -> Option<IpAddr> {
    let node = str::from_utf8(node).ok()?;
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    let (address, port) = match node.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) = node.split_at(node.find(':')?);
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address)
}

/// A number, or the stand-in that RFC 7239 allows for one (`_x`).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];

fn client(peer: &str, headers: &[(&'static str, &[u8])]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    TrustedProxies::parse(PROXIES).unwrap().client_from(peer.parse().unwrap(), &map).to_string()
}

fn through_xff(peer: &str, value: &str) -> String {
    client(peer, &[("x-forwarded-for", value.as_bytes())])
}

fn through_forwarded(peer: &str, value: &str) -> String {
    client(peer, &[("forwarded", value.as_bytes())])
}

#[test]
fn an_untrusted_peer_is_the_client_whatever_its_headers_say() {
    assert_eq!(through_xff("203.0.113.9", "1.1.1.1"), "203.0.113.9");
    assert_eq!(through_forwarded("203.0.113.9", "for=1.1.1.1"), "203.0.113.9");
    assert_eq!(client("203.0.113.9", &[]), "203.0.113.9");
}

#[test]
fn the_first_untrusted_address_from_the_right_is_the_client() {
    assert_eq!(through_xff("10.0.0.1", "6.6.6.6, 203.0.113.9, 192.0.2.7,10.9.9.9"), "203.0.113.9");
    assert_eq!(through_xff("10.0.0.1", "10.0.0.3, 10.0.0.2"), "10.0.0.3", "proxies all the way");
    let elements = r#"for=6.6.6.6, for=203.0.113.9;proto=https;by=10.0.0.2, FOR="10.9.9.9:4711""#;
    assert_eq!(through_forwarded("fd00::1", elements), "203.0.113.9");
}

#[test]
fn several_lines_are_one_list() {
    let lines: [(&str, &[u8]); 2] =
        [("x-forwarded-for", b"6.6.6.6, 203.0.113.9"), ("x-forwarded-for", b"10.0.0.2")];
    assert_eq!(client("10.0.0.1", &lines), "203.0.113.9");
    let lines: [(&str, &[u8]); 2] =
        [("forwarded", b"for=6.6.6.6, for=203.0.113.9"), ("forwarded", b"for=10.0.0.2")];
    assert_eq!(client("10.0.0.1", &lines), "203.0.113.9");
}

#[test]
fn what_is_no_address_ends_the_walk_at_the_hop_before_it() {
    for noise in [
        "unknown",
        "_hidden",
        "",
        "x",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.4:x",
        "1.2.3.4:99999",
        "[::1",
        "::1]",
        "[::1]80",
        "[1.2.3.4]",
        "fe80::1%eth0",
        "2001:db8::1:80:x",
        "é",
        "unix:",
        "1.2.3.4:_",
    ] {
        let got = through_xff("10.0.0.1", &format!("6.6.6.6, {noise}, 10.0.0.2"));
        assert_eq!(got, "10.0.0.2", "{noise:?}");
        let got = through_forwarded("10.0.0.1", &format!("for=6.6.6.6, for=\"{noise}\", for=10.0.0.2"));
        assert_eq!(got, "10.0.0.2", "{noise:?}");
    }
    for element in ["proto=https", "for", "for=1.1.1.1;for=2.2.2.2", "by=1.1.1.1", "", ";", "="] {
        let got = through_forwarded("10.0.0.1", &format!("for=6.6.6.6, {element}, for=10.0.0.2"));
        assert_eq!(got, "10.0.0.2", "{element:?}");
    }
}

#[test]
fn what_the_client_wrote_cannot_change_what_its_proxy_added() {
    for smuggled in
        [&b"\xff\xfe"[..], b"for=\"", b"\"", b"for=\"1.1.1.1", b"\\", b"for=\"\\", b",,,;;;", b"unknown"]
    {
        let append = |added: &[u8]| [smuggled, added].concat();
        let header = append(b", 203.0.113.9");
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", &header)]), "203.0.113.9", "{smuggled:?}");
        for added in [&b", for=203.0.113.9"[..], b",for=\"203.0.113.9:80\";by=\"a,b;c\\\"\""] {
            let header = append(added);
            assert_eq!(client("10.0.0.1", &[("forwarded", &header)]), "203.0.113.9", "{smuggled:?}");
        }
    }
}

#[test]
fn forwarded_is_read_only_where_x_forwarded_for_is_absent() {
    let both: [(&str, &[u8]); 2] = [("forwarded", b"for=6.6.6.6"), ("x-forwarded-for", b"203.0.113.9")];
    assert_eq!(client("10.0.0.1", &both), "203.0.113.9");
    let noise: [(&str, &[u8]); 2] = [("forwarded", b"for=6.6.6.6"), ("x-forwarded-for", b"unknown")];
    assert_eq!(client("10.0.0.1", &noise), "10.0.0.1");
}

#[test]
fn ports_and_brackets_do_not_make_another_client() {
    for entry in [
        "203.0.113.9",
        "203.0.113.9:1",
        " 203.0.113.9:65535\t",
        "::ffff:203.0.113.9",
        "[::ffff:203.0.113.9]:9",
    ] {
        assert_eq!(through_xff("10.0.0.1", entry), "203.0.113.9", "{entry:?}");
    }
    for entry in ["2001:db8:1:2::9", "[2001:DB8:1:2::9]", "[2001:db8:1:2:ffff::]:443"] {
        assert_eq!(through_xff("10.0.0.1", entry), "2001:db8:1:2::/64", "{entry:?}");
        assert_eq!(
            through_forwarded("10.0.0.1", &format!("for=\"{entry}\"")),
            "2001:db8:1:2::/64",
            "{entry:?}"
        );
    }
    assert_eq!(through_forwarded("10.0.0.1", "for=\"203.0.113.9:_p\""), "203.0.113.9");
}

#[test]
fn an_ipv4_address_in_ipv6_form_is_the_same_peer() {
    assert_eq!(through_xff("::ffff:10.0.0.1", "203.0.113.9"), "203.0.113.9");
    assert_eq!(client("::ffff:203.0.113.9", &[]), "203.0.113.9");
    assert_eq!(client("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::/64");
}

#[test]
fn ten_thousand_entries_are_walked_to_the_end_and_no_further() {
    let proxies = vec!["10.0.0.2"; 10_000].join(",");
    assert_eq!(through_xff("10.0.0.1", &format!("203.0.113.9,{proxies}")), "203.0.113.9");
    assert_eq!(through_xff("10.0.0.1", &proxies), "10.0.0.2");
    let elements = vec!["for=10.0.0.2"; 10_000].join(",");
    assert_eq!(
        through_forwarded("10.0.0.1", &format!("for=\"{}\",{elements}", "\\\"".repeat(10_000))),
        "10.0.0.2"
    );
}

#[test]
fn networks_cover_what_their_notation_says() {
    let covers = |network: &str, address: &str| {
        TrustedProxies::parse([network]).unwrap().trusts(address.parse().unwrap())
    };
    for (network, inside, outside) in [
        ("10.1.2.3/8", "10.255.0.0", "11.0.0.0"),
        ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
        ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
    ] {
        assert!(covers(network, inside), "{network} {inside}");
        assert!(!covers(network, outside), "{network} {outside}");
    }
    assert!(covers("::/0", "1.2.3.4") && covers("::/0", "ffff::"));
    for bad in
        ["", "x", "10.0.0.0/33", "::/129", "10/8", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/8/8", "10.0.0.1:80"]
    {
        let error = TrustedProxies::parse(["::1", bad]).unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn a_request_over_no_connection_has_an_unknown_client() {
    let request = http::Request::builder().header("x-forwarded-for", "203.0.113.9").body(()).unwrap();
    let client = TrustedProxies::parse(["::/0"]).unwrap().client(&request);
    assert_eq!((client, client.to_string().as_str()), (Client::UNKNOWN, "unknown"));
}

/// An entry as text, and the address it means.
fn entry() -> impl Strategy<Value = (String, Option<IpAddr>)> {
    let near = any::<[u8; 2]>().prop_map(|[a, b]| IpAddr::from([10, 0, a, b]));
    let far = any::<[u8; 4]>().prop_map(IpAddr::from);
    let six = any::<[u16; 8]>().prop_map(IpAddr::from);
    let ours =
        any::<[u16; 7]>().prop_map(|[a, b, c, d, e, f, g]| IpAddr::from([0xfd00, a, b, c, d, e, f, g]));
    let address = prop_oneof![4 => near, 1 => far, 1 => six, 2 => ours];
    let good = (address, any::<Option<u16>>()).prop_map(|(address, port)| {
        let text = match (address, port) {
            (IpAddr::V4(address), Some(port)) => format!("{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => format!("[{address}]:{port}"),
            (address, None) => address.to_string(),
        };
        (text, Some(address))
    });
    prop_oneof![9 => good, 1 => "unknown|_[a-z]{1,4}|nonsense".prop_map(|noise| (noise, None))]
}

/// The rule as one would say it, over parsed entries.
fn naive(peer: IpAddr, entries: &[(String, Option<IpAddr>)]) -> IpAddr {
    let trusted = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[0] == 10 || address.octets() == [192, 0, 2, 7],
        IpAddr::V6(address) => address.octets()[0] == 0xfd,
    };
    let mut path = vec![Some(peer)];
    path.extend(entries.iter().rev().map(|(_, address)| *address));
    let believed = path.iter().take_while(|hop| hop.is_some()).flatten();
    let believed: Vec<_> = believed.copied().collect();
    believed.iter().find(|hop| !trusted(hop)).or(believed.last()).unwrap().to_canonical()
}

/// A byte that a header may hold, often one that means something.
fn header_byte() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(b"\",;=\\for1.:[] _".as_slice()), b' '..=b'~', 0x80_u8..=0xff]
}

proptest! {
    #[test]
    fn the_walk_agrees_with_the_naive_rule(
        peer in entry().prop_filter_map("a peer has an address", |(_, address)| address),
        lines in prop::collection::vec(prop::collection::vec(entry(), 1..5), 0..4),
        as_forwarded: bool,
    ) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            let element = |(text, _): &(String, Option<IpAddr>)| {
                if as_forwarded { format!("by=_x;For=\"{text}\";proto=http") } else { text.clone() }
            };
            let line = line.iter().map(element).collect::<Vec<_>>().join(" , ");
            let name = if as_forwarded { "forwarded" } else { "x-forwarded-for" };
            headers.append(name, line.parse().unwrap());
        }
        let got = TrustedProxies::parse(PROXIES).unwrap().client_from(peer, &headers);
        prop_assert_eq!(got.address(), Some(naive(peer, &lines.concat())));
    }

    #[test]
    fn no_bytes_of_a_client_hide_the_address_its_proxy_saw(
        smuggled in prop::collection::vec(header_byte(), 0..40),
        as_forwarded: bool,
    ) {
        let (name, added) = if as_forwarded {
            ("forwarded", ", for=\"203.0.113.9\"")
        } else {
            ("x-forwarded-for", ", 203.0.113.9")
        };
        let line = [&smuggled, added.as_bytes()].concat();
        prop_assert_eq!(client("10.0.0.1", &[(name, &line)]), "203.0.113.9");
    }
}

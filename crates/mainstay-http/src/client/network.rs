use std::net::IpAddr;
use std::str::FromStr;

/// Addresses with a common prefix. IPv4 is held in its IPv6 form, so that both forms of an address are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    base: u128,
    /// Low bits that are free, 0 to 128.
    free: u32,
}

/// An entry of a list of networks that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is neither an address nor a network such as 10.0.0.0/8")]
pub struct InvalidNetwork {
    text: String,
}

impl Network {
    pub(super) fn contains(self, address: IpAddr) -> bool {
        // A shift by all 128 bits leaves nothing to compare.
        (bits(address) ^ self.base).checked_shr(self.free).unwrap_or(0) == 0
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        parse(text).ok_or_else(|| InvalidNetwork { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Network> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        // `parse` alone would take "+8".
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    let free = u32::checked_sub(longest, prefix)?;
    Some(Network { base: bits(address), free })
}

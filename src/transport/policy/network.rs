//! [`IpNetwork`]: a range of IP addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{Error, ErrorKind};

/// A range of IP addresses in CIDR notation (RFC 4632 section 3.1), such as `10.0.0.0/8`.
///
/// ```
/// let network: refsync::IpNetwork = "10.20.0.0/16".parse()?;
/// assert!(network.contains("10.20.30.40".parse().unwrap()));
/// # Ok::<_, refsync::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// The first address; IPv4 for an IPv4-mapped IPv6 address.
    address: IpAddr,
    prefix_length: u8,
}

impl IpNetwork {
    /// The network of all addresses that share the first `prefix_length` bits with `address`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOptions`] if `address` has fewer bits.
    pub fn new(address: IpAddr, prefix_length: u8) -> Result<Self, Error> {
        let (most, mapped) = match address {
            IpAddr::V4(_) => (32, None),
            IpAddr::V6(v6) => (128, v6.to_ipv4_mapped()),
        };
        if prefix_length > most {
            let text = "a network's prefix is longer than its address";
            return Err(Error::new(ErrorKind::InvalidOptions, text));
        }
        Ok(match (mapped, prefix_length.checked_sub(96)) {
            (Some(mapped), Some(rest)) => IpNetwork {
                address: mapped.into(),
                prefix_length: rest,
            },
            _ => IpNetwork {
                address,
                prefix_length,
            },
        })
    }

    pub(super) const fn v4(address: [u8; 4], prefix_length: u8) -> Self {
        let [a, b, c, d] = address;
        IpNetwork {
            address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix_length,
        }
    }

    pub(super) const fn v6(first: u16, second: u16, prefix_length: u8) -> Self {
        IpNetwork {
            address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)),
            prefix_length,
        }
    }

    /// Whether `address` is in the network. An IPv4-mapped IPv6 address counts as its IPv4 address; no other
    /// IPv6 address does.
    pub fn contains(&self, address: IpAddr) -> bool {
        let length = u32::from(self.prefix_length);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= length
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= length
            }
            _ => false,
        }
    }
}

/// Parses an address, optionally followed by `/` and the length of the prefix.
impl FromStr for IpNetwork {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let text = "this is no network: `10.0.0.0/8` would be one";
            Error::new(ErrorKind::InvalidOptions, text)
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => whole,
            // `parse` would accept a sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| invalid())?
            }
            Some(_) => return Err(invalid()),
        };
        IpNetwork::new(address, length)
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_addresses_a_network_has() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.200.0.1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::10.0.0.1", false),
            ("::ffff:10.0.0.0/104", "10.1.1.1", true),
            ("::ffff:10.0.0.0/104", "11.1.1.1", false),
            ("168.63.129.16", "168.63.129.16", true),
            ("168.63.129.16", "168.63.129.17", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "2001::1", false),
            ("::/0", "2001::1", true),
            ("::/0", "1.1.1.1", false),
            ("::/0", "::ffff:1.1.1.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8::2", false),
        ];
        for (network, address, expected) in cases {
            let network: IpNetwork = network.parse().expect(network);
            let address = address.parse().expect(address);
            assert_eq!(network.contains(address), expected, "{network} {address}");
        }
    }

    #[test]
    fn how_networks_are_written() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("1.1.1.1", "1.1.1.1/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<IpNetwork>().expect(text).to_string(), shown);
        }
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10/8",
            "::/129",
            "::/300",
            "[::1]/128",
            "example.com",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
        ] {
            let err = text.parse::<IpNetwork>().expect_err(text);
            assert_eq!(err.kind(), ErrorKind::InvalidOptions, "{text}");
        }
    }
}

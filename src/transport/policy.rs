//! [`NetworkPolicy`]: the schemes and addresses that connections are allowed to.

use std::net::IpAddr;

pub use self::network::IpNetwork;
use super::Origin;
use crate::{Error, ErrorKind};

mod network;

/// The schemes and addresses that connections are allowed to.
///
/// The default is [`public()`](NetworkPolicy::public), which is meant for URLs from untrusted users. The policy is
/// applied to each address right before the connection, after name resolution and whatever the notation in the URL.
/// A forbidden connection fails with [`ErrorKind::Forbidden`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkPolicy {
    /// Whether unencrypted `http` is allowed. Credentials are then sent in clear text.
    pub allow_plain_http: bool,
    /// Whether addresses outside the public internet are allowed: this machine, private networks, and all others
    /// that IANA's special-purpose registries (RFC 6890) list as not globally reachable. The platform addresses of
    /// clouds belong to them.
    pub allow_private_networks: bool,
    /// Networks that are always refused: for example the service's own network if private ones are allowed, or
    /// public addresses that lead to internal ones. If there is any, addresses that stand for others are refused
    /// as well: the unspecified addresses, and IPv6 addresses that a translator maps to an IPv4 address.
    pub refused_networks: Vec<IpNetwork>,
}

impl NetworkPolicy {
    /// `https` to public addresses only.
    pub fn public() -> Self {
        NetworkPolicy {
            allow_plain_http: false,
            allow_private_networks: false,
            refused_networks: Vec::new(),
        }
    }

    /// Any connection: private networks, this machine, and plain `http`.
    pub fn any() -> Self {
        NetworkPolicy {
            allow_plain_http: true,
            allow_private_networks: true,
            refused_networks: Vec::new(),
        }
    }

    /// Adds a network to those that are always refused.
    ///
    /// ```
    /// let policy = refsync::NetworkPolicy::any().refusing("10.20.0.0/16".parse()?);
    /// # Ok::<_, refsync::Error>(())
    /// ```
    #[must_use]
    pub fn refusing(mut self, network: IpNetwork) -> Self {
        self.refused_networks.push(network);
        self
    }

    pub(super) fn check_scheme(&self, origin: &Origin) -> Result<(), Error> {
        if origin.is_https() || self.allow_plain_http {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Forbidden,
            "the network policy does not allow plain http",
        ))
    }

    /// Refuses the names of this machine without resolving them (RFC 6761 section 6.3).
    pub(super) fn allows_name(&self, host: &str) -> bool {
        let is_local = host == "localhost" || host.ends_with(".localhost");
        self.allow_private_networks || !is_local
    }

    /// Whether connections to `address` are allowed. A service can apply the policy to connections of its own:
    /// to every address of a name right before it connects, since another lookup may give others.
    ///
    /// ```
    /// let policy = refsync::NetworkPolicy::public();
    /// assert!(policy.allows([140, 82, 121, 3].into()));
    /// assert!(!policy.allows([169, 254, 169, 254].into()));
    /// ```
    pub fn allows(&self, address: IpAddr) -> bool {
        (self.allow_private_networks || is_public(address)) && !self.refuses(address)
    }

    fn refuses(&self, address: IpAddr) -> bool {
        let contains = |network: &IpNetwork| network.contains(address);
        let may_lead_there = !self.refused_networks.is_empty() && leads_elsewhere(address);
        may_lead_there || self.refused_networks.iter().any(contains)
    }
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        NetworkPolicy::public()
    }
}

/// Whether `address` stands for another one: for one of this machine, as the unspecified addresses do, or
/// for the IPv4 address that a translator finds in it. Mapped addresses are compared as what they map.
fn leads_elsewhere(address: IpAddr) -> bool {
    address.is_unspecified()
        || EMBEDDING_IPV4
            .iter()
            .any(|network| network.contains(address))
}

/// NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380) and 6to4 (RFC 3056).
const EMBEDDING_IPV4: &[IpNetwork] = &[
    IpNetwork::v6(0x64, 0xff9b, 32),
    IpNetwork::v6(0x2001, 0, 32),
    IpNetwork::v6(0x2002, 0, 16),
];

/// Whether `address` is one of the public internet.
///
/// In doubt it is not: IPv6 addresses with an embedded IPv4 address are refused, because an unknown translator decides
/// where they lead.
fn is_public(address: IpAddr) -> bool {
    let is_given_out = address.is_ipv4() || GLOBAL_UNICAST_V6.contains(address);
    is_given_out && !NOT_PUBLIC.iter().any(|network| network.contains(address))
}

/// The addresses that IANA has assigned as global unicast. Loopback, ULA, link-local, multicast, IPv4-mapped and NAT64
/// (64:ff9b::/96, 64:ff9b:1::/48) addresses are outside of them.
const GLOBAL_UNICAST_V6: IpNetwork = IpNetwork::v6(0x2000, 0, 3);

/// The networks that are not public: those of IANA's IPv4 Special-Purpose Address Registry, and multicast (RFC 5771);
/// those of the IPv6 registry inside global unicast; and platform addresses of clouds.
const NOT_PUBLIC: &[IpNetwork] = &[
    IpNetwork::v4([0, 0, 0, 0], 8),
    IpNetwork::v4([10, 0, 0, 0], 8),
    IpNetwork::v4([100, 64, 0, 0], 10),
    IpNetwork::v4([127, 0, 0, 0], 8),
    IpNetwork::v4([169, 254, 0, 0], 16),
    IpNetwork::v4([172, 16, 0, 0], 12),
    IpNetwork::v4([192, 0, 0, 0], 24),
    IpNetwork::v4([192, 0, 2, 0], 24),
    IpNetwork::v4([192, 88, 99, 0], 24),
    IpNetwork::v4([192, 168, 0, 0], 16),
    IpNetwork::v4([198, 18, 0, 0], 15),
    IpNetwork::v4([198, 51, 100, 0], 24),
    IpNetwork::v4([203, 0, 113, 0], 24),
    IpNetwork::v4([224, 0, 0, 0], 4),
    IpNetwork::v4([240, 0, 0, 0], 4),
    // The platform address of Azure, reachable from each of its machines, which returns certificates and secrets.
    IpNetwork::v4([168, 63, 129, 16], 32),
    // Protocol assignments: Teredo, benchmarking, ORCHID.
    IpNetwork::v6(0x2001, 0, 23),
    // Documentation.
    IpNetwork::v6(0x2001, 0xdb8, 32),
    // 6to4, with an IPv4 address inside.
    IpNetwork::v6(0x2002, 0, 16),
    // Documentation.
    IpNetwork::v6(0x3fff, 0, 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_public_internet() {
        let cases = [
            ("1.1.1.1", true),
            ("9.255.255.255", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("126.255.255.255", true),
            ("128.0.0.1", true),
            ("140.82.121.3", true),
            ("168.63.129.15", true),
            ("168.63.129.17", true),
            ("169.253.255.255", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("192.0.1.0", true),
            ("192.167.255.255", true),
            ("198.17.255.255", true),
            ("198.20.0.0", true),
            ("223.255.255.255", true),
            ("2001:200::1", true),
            ("2001:db7::1", true),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001::1", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("10.255.255.255", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::1.1.1.1", false),
            ("::ffff:1.1.1.1", false),
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::101:101", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:2::1", false),
            ("2001:20::1", false),
            ("2001:db8::1", false),
            ("2002:101:101::1", false),
            ("2002:7f00:1::1", false),
            ("3fff::1", false),
            ("4000::1", false),
            ("5f00::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ];
        for (text, expected) in cases {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(is_public(address), expected, "{text}");
        }
    }

    #[test]
    fn the_policies() {
        let private: IpAddr = "10.0.0.1".parse().expect("an address");
        let public: IpAddr = "1.1.1.1".parse().expect("an address");
        assert_eq!(NetworkPolicy::default(), NetworkPolicy::public());
        assert!(NetworkPolicy::public().allows(public));
        assert!(!NetworkPolicy::public().allows(private));
        assert!(NetworkPolicy::any().allows(private));
        let refused = "10.0.0.0/24".parse().expect("a network");
        let policy = NetworkPolicy::any().refusing(refused);
        assert!(!policy.allows(private) && policy.allows(public));
        let mapped = "::ffff:10.0.0.1".parse().expect("an address");
        assert!(!policy.allows(mapped));
        let elsewhere = [
            "0.0.0.0",
            "::",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:a00:1::",
        ];
        for address in elsewhere.map(|address| address.parse().expect("an address")) {
            assert!(NetworkPolicy::any().allows(address), "{address}");
            assert!(!policy.allows(address), "{address}");
        }
        let refused = "1.1.1.1".parse().expect("a network");
        assert!(!NetworkPolicy::public().refusing(refused).allows(public));
        for (host, is_local) in [
            ("localhost", true),
            ("a.localhost", true),
            ("notlocalhost", false),
            ("localhost.example", false),
        ] {
            assert_eq!(NetworkPolicy::public().allows_name(host), !is_local);
            assert!(NetworkPolicy::any().allows_name(host));
        }
    }
}

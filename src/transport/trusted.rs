//! Trusted proxy networks: addresses that may name the address of a client.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses: those that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4 as mapped into IPv6, so that both families are one comparison.
    bits: u128,
    prefix: u32,
    is_v4: bool,
}

/// Bits in front of an IPv4 address that is mapped into IPv6.
const MAPPED: u32 = 96;

impl Network {
    /// An address of IPv4 is in a network of IPv4 also when it is written as one of IPv6.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits_of(address);
        // A shift by all 128 bits is no shift for the processor.
        (bits ^ self.bits)
            .checked_shr(128 - self.prefix)
            .unwrap_or(0)
            == 0
    }
}

fn bits_of(address: IpAddr) -> u128 {
    let six = match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    six.to_bits()
}

/// A block of addresses that cannot be read: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address, no block of addresses like 10.0.0.0/8 or fd00::/8, and not \"unix\"")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    /// `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`. Bits behind the prefix do not matter.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let is_v4 = address.is_ipv4();
        let longest = if is_v4 { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| wrong())?
            }
            Some(_) => return Err(wrong()),
        };
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self {
            bits: bits_of(address),
            prefix: if is_v4 { prefix + MAPPED } else { prefix },
            is_v4,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let six = Ipv6Addr::from_bits(self.bits);
        match six.to_ipv4_mapped().filter(|_| self.is_v4) {
            Some(four) => write!(out, "{four}/{}", self.prefix - MAPPED),
            None => write!(out, "{six}/{}", self.prefix),
        }
    }
}

/// Proxies that an operator trusts; at first none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<Network>,
    /// Connections by Unix sockets: access is limited by the file mode.
    unix: bool,
}

/// How Unix sockets are called in a list of what is trusted.
const UNIX: &str = "unix";

impl Trusted {
    /// From a list as an operator writes it: networks, and `unix` for what comes by Unix sockets.
    ///
    /// # Errors
    /// The first element that is neither.
    pub fn from_list<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, NetworkError> {
        let mut trusted = Self::default();
        for element in list {
            if element == UNIX {
                trusted.unix = true;
            } else {
                trusted.networks.push(element.parse()?);
            }
        }
        Ok(trusted)
    }

    /// `None` stands for a Unix socket, which has no address.
    #[must_use]
    pub fn contains(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => self
                .networks
                .iter()
                .any(|network| network.contains(address)),
            None => self.unix,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_inside_and_outside() {
        let rows = [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.77/24", "192.0.2.1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
            ("::1", "::1", true),
        ];
        for (block, address, inside) in rows {
            let found = network(block).contains(address.parse().unwrap());
            assert_eq!(found, inside, "{address} in {block}");
        }
    }

    #[test]
    fn what_is_no_block() {
        for text in [
            "",
            "/",
            "10.0.0.0/33",
            "::/129",
            "10/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "a",
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }

    #[test]
    fn is_shown_as_it_is_read() {
        for text in [
            "192.0.2.7/32",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "fd00::/8",
            "::/0",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
    }

    #[test]
    fn a_unix_socket_is_trusted_when_named() {
        let ten = Some("10.1.2.3".parse().unwrap());
        let eleven = Some("11.1.2.3".parse().unwrap());
        let trusted = |list: &[&str]| Trusted::from_list(list.iter().copied()).unwrap();
        let both = trusted(&["10.0.0.0/8", "unix"]);
        assert!(both.contains(ten) && both.contains(None) && !both.contains(eleven));
        assert!(!trusted(&["10.0.0.0/8"]).contains(None));
        assert!(trusted(&[]).is_empty() && !trusted(&[]).contains(None));
        assert!(Trusted::from_list(["10.0.0.0/8", "nobody"]).is_err());
    }
}

//! Which addresses are the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// Globally reachable unicast.
    Public,
    /// Loopback, private, carrier-grade NAT, multicast, documentation, reserved: refused unless an administrator allowed it.
    NotPublic(&'static str),
    /// Where clouds give a machine its credentials: link-local, and the addresses that some have elsewhere, public ones among them. That an administrator knows a
    /// name is no reason to follow it there: refused unless the administrator allowed this very address.
    Metadata(&'static str),
}

/// Classifies by the IANA special-purpose registries (RFC 6890 and its successors). IPv4 inside IPv6 (mapped, translated, 6to4, Teredo)
/// counts as the IPv4 address inside it.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    use AddressClass::{Metadata, NotPublic, Public};
    let [a, b, c, d] = ip.octets();
    // Azure's WireServer, Alibaba's and Oracle's metadata.
    if matches!((a, b, c, d), (168, 63, 129, 16) | (100, 100, 100, 200) | (192, 0, 0, 192)) {
        return Metadata("a cloud's metadata service");
    }
    match (a, b, c) {
        (0, ..) => NotPublic("this network"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => NotPublic("a private network"),
        (100, 64..=127, _) => NotPublic("carrier-grade NAT"),
        (127, ..) => NotPublic("loopback"),
        (169, 254, _) => Metadata("link-local"),
        (192, 0, 0 | 2) | (198, 51, 100) | (203, 0, 113) => NotPublic("reserved for documentation or protocols"),
        (192, 88, 99) => NotPublic("a 6to4 relay"),
        (198, 18..=19, _) => NotPublic("reserved for benchmarks"),
        (224..=239, ..) => NotPublic("multicast"),
        (240..=255, ..) => NotPublic("reserved"),
        _ => Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    use AddressClass::{Metadata, NotPublic, Public};
    let inner = |hi: u16, lo: u16| classify_v4(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => NotPublic("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => NotPublic("loopback"),
        // IPv4-compatible, -mapped, -translated, NAT64 and 6to4.
        [0, 0, 0, 0, 0, 0 | 0xffff, hi, lo]
        | [0, 0, 0, 0, 0xffff, 0, hi, lo]
        | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo]
        | [0x2002, hi, lo, ..] => inner(hi, lo),
        [0x64, 0xff9b, 1, ..] => NotPublic("local-use translation"),
        [0x100, ..] => NotPublic("discard-only"),
        [0x2001, 0, ..] => NotPublic("Teredo"),
        [0x2001, 0xdb8 | 2 | 0x10..=0x2f, ..] | [0x3fff, 0..=0xfff, ..] => NotPublic("reserved for documentation or protocols"),
        // Amazon's and Google's.
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Metadata("a cloud's metadata service"),
        [a, ..] if a & 0xfe00 == 0xfc00 => NotPublic("a private network"),
        [a, ..] if a & 0xffc0 == 0xfe80 => Metadata("link-local"),
        [a, ..] if a & 0xffc0 == 0xfec0 => NotPublic("site-local"),
        [a, ..] if a & 0xff00 == 0xff00 => NotPublic("multicast"),
        // Global unicast is 2000::/3 as of today.
        [a, ..] if a & 0xe000 == 0x2000 => Public,
        _ => NotPublic("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_globally_reachable_addresses_are_public() {
        for public in ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"] {
            assert_eq!(classify(public.parse().unwrap()), AddressClass::Public, "{public}");
        }
        for other in [
            "0.0.0.0",
            "127.0.0.1",
            "127.255.1.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:0:1::",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:0:10.0.0.1",
            "100::1",
            "4000::1",
        ] {
            assert!(matches!(classify(other.parse().unwrap()), AddressClass::NotPublic(_)), "{other}");
        }
    }

    #[test]
    fn where_clouds_keep_credentials_is_a_class_of_its_own_in_every_disguise() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::a9fe:a9fe",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::",
            "::ffff:0:169.254.169.254",
        ] {
            assert!(matches!(classify(address.parse().unwrap()), AddressClass::Metadata(_)), "{address}");
        }
        for (other, public) in
            [("168.63.129.17", true), ("100.100.100.201", false), ("fd00:ec2::255", false), ("2001:0:a9fe:a9fe::", false)]
        {
            let class = classify(other.parse().unwrap());
            assert_eq!(class == AddressClass::Public, public, "{other}");
            assert!(!matches!(class, AddressClass::Metadata(_)), "{other}");
        }
    }
}

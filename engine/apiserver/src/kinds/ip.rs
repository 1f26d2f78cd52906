//! IP addresses and networks as the API's fields take them.
//!
//! Strict since 1.36 (`StrictIPCIDRValidation`): no leading zeros, no IPv4 within IPv6, no bits beyond the prefix. Fields
//! that came later want the canonical form as well.
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/ip.go and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateEndpointIP`)

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::checks::Causes;
use crate::status::{Cause, quote};

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_NETWORK: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Reads `010.0.0.1` too, as 10.0.0.1: whoever refuses it then says why.
fn lenient(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let octets: Option<Vec<u8>> = text.split('.').map(|octet| number(octet)?.try_into().ok()).collect();
        let octets: [u8; 4] = octets?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    })
}

fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(own) if own.to_ipv4_mapped().is_some())
}

/// What `text` means, also when something is wrong with how it is written.
pub fn address(out: &mut Causes, text: &str, path: &str) -> Option<IpAddr> {
    let Some(ip) = lenient(text) else {
        out.push(Cause::invalid(path, text, NO_IP));
        return None;
    };
    if text.parse::<IpAddr>().is_err() {
        out.push(Cause::invalid(path, text, "must not have leading 0s"));
    } else if is_mapped(ip) {
        out.push(Cause::invalid(path, text, "must not be an IPv4-mapped IPv6 address"));
    }
    Some(ip)
}

/// The network with its address as it stands there, and whether something has leading zeros.
fn lenient_network(text: &str) -> Option<(IpNet, bool)> {
    let (ip, bits) = text.split_once('/')?;
    let net = IpNet::new(lenient(ip)?, number(bits)?.try_into().ok()?).ok()?;
    let zeros = ip.parse::<IpAddr>().is_err() || (bits.len() > 1 && bits.starts_with('0'));
    Some((net, zeros))
}

pub fn network(out: &mut Causes, text: &str, path: &str) -> Option<IpNet> {
    let Some((net, zeros)) = lenient_network(text) else {
        out.push(Cause::invalid(path, text, NO_NETWORK));
        return None;
    };
    if zeros {
        out.push(Cause::invalid(path, text, "must not have leading 0s in IP or prefix length"));
    } else if is_mapped(net.addr()) {
        out.push(Cause::invalid(path, text, "must not have an IPv4-mapped IPv6 address"));
    } else if net.trunc() != net {
        out.push(Cause::invalid(path, text, "must not have bits set beyond the prefix length"));
    }
    Some(net.trunc())
}

fn canonical(out: &mut Causes, text: &str, path: &str, form: String) {
    if text != form {
        let why = format!("must be in canonical form ({})", quote(&form));
        out.push(Cause::invalid(path, text, &why));
    }
}

pub fn canonical_address(out: &mut Causes, text: &str, path: &str) {
    let before = out.len();
    if let Some(ip) = address(out, text, path).filter(|_| out.len() == before) {
        canonical(out, text, path, ip.to_string());
    }
}

pub fn canonical_network(out: &mut Causes, text: &str, path: &str) -> Option<IpNet> {
    let before = out.len();
    let net = network(out, text, path)?;
    if out.len() == before {
        canonical(out, text, path, net.to_string());
    }
    Some(net)
}

/// An address with the length of its network: `10.9.8.7/24`.
pub fn interface(out: &mut Causes, text: &str, path: &str) {
    const FORM: &str = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
    let parts = text.split_once('/').and_then(|(ip, bits)| Some((lenient(ip)?, number(bits)?)));
    let net = parts.and_then(|(ip, bits)| match ip {
        IpAddr::V6(own) if is_mapped(ip) => {
            IpNet::new(own.to_ipv4_mapped()?.into(), bits.checked_sub(96)?.try_into().ok()?).ok()
        }
        _ => IpNet::new(ip, bits.try_into().ok()?).ok(),
    });
    match net {
        Some(net) => canonical(out, text, path, net.to_string()),
        None => out.push(Cause::invalid(path, text, FORM)),
    }
}

/// What is said of an address that is written in a way that later releases refuse, or not in the canonical one.
pub fn address_warning(text: &str, path: &str) -> Option<String> {
    let (ip, shown) = (lenient(text)?, quote(text));
    let plain = ip.to_canonical();
    if plain != ip || text.parse::<IpAddr>().is_err() {
        return Some(format!(
            "{path}: non-standard IP address {shown} will be considered invalid in a future Kubernetes release: use \"{plain}\""
        ));
    }
    (ip.is_ipv6() && ip.to_string() != text)
        .then(|| format!("{path}: IPv6 address {shown} should be in RFC 5952 canonical format (\"{ip}\")"))
}

/// The same of a network.
pub fn network_warnings(text: &str, path: &str) -> Vec<String> {
    let Some((net, zeros)) = lenient_network(text) else { return Vec::new() };
    let (ip, network, shown) = (net.addr(), net.trunc(), quote(text));
    let mut out = Vec::new();
    if network != net {
        let alone = net.max_prefix_len();
        out.push(format!(
            "{path}: CIDR value {shown} is ambiguous in this context (should be \"{network}\" or \"{ip}/{alone}\"?)"
        ));
    }
    if is_mapped(ip) || zeros {
        out.push(format!(
            "{path}: non-standard CIDR value {shown} will be considered invalid in a future Kubernetes release: use \"{network}\""
        ));
    }
    if out.is_empty() && ip.is_ipv6() && net.to_string() != text {
        out.push(format!(
            "{path}: IPv6 CIDR value {shown} should be in RFC 5952 canonical format (\"{net}\")"
        ));
    }
    out
}

/// Addresses that no endpoint has.
pub fn not_special(out: &mut Causes, ip: IpAddr, text: &str, path: &str) {
    let (link, multicast) = match ip {
        IpAddr::V4(own) => (own.is_link_local(), own.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(own) => (own.is_unicast_link_local(), own.segments()[0] & 0xff0f == 0xff02),
    };
    for (holds, why) in [
        (ip.is_unspecified(), &*format!("may not be unspecified ({text})")),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        if holds {
            out.push(Cause::invalid(path, text, why));
        }
    }
}

/// An address that something outside may be reached at.
pub fn endpoint(out: &mut Causes, text: &str, path: &str) {
    let before = out.len();
    if let Some(ip) = address(out, text, path).filter(|_| out.len() == before) {
        not_special(out, ip, text, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(check: impl Fn(&mut Causes)) -> Vec<String> {
        let mut out = Vec::new();
        check(&mut out);
        out.iter().map(|cause| cause.message.clone()).collect()
    }

    #[test]
    fn addresses_are_strict() {
        for (text, why) in [
            ("10.0.0.1", ""),
            ("2001:db8::1", ""),
            ("10.0.0", NO_IP),
            ("10.0.0.+1", NO_IP),
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("2001:DB8::1", "must be in canonical form (\"2001:db8::1\")"),
        ] {
            let found = causes(|out| canonical_address(out, text, "a"));
            let expected =
                if why.is_empty() { vec![] } else { vec![format!("Invalid value: \"{text}\": {why}")] };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn networks_are_strict() {
        for (text, why) in [
            ("10.0.0.0/8", ""),
            ("2001:db8::/64", ""),
            ("10.0.0.0", NO_NETWORK),
            ("10.0.0.0/33", NO_NETWORK),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
            ("2001:DB8::/64", "must be in canonical form (\"2001:db8::/64\")"),
        ] {
            let found = causes(|out| {
                canonical_network(out, text, "a");
            });
            let expected =
                if why.is_empty() { vec![] } else { vec![format!("Invalid value: \"{text}\": {why}")] };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn unusual_forms_are_warned_about() {
        let soon = "will be considered invalid in a future Kubernetes release: use";
        let form = "should be in RFC 5952 canonical format";
        for (text, expected) in [
            ("10.0.0.1", vec![]),
            ("fd00::1", vec![]),
            ("fd00:0::1", vec![format!("IPv6 address \"fd00:0::1\" {form} (\"fd00::1\")")]),
            ("010.0.0.1", vec![format!("non-standard IP address \"010.0.0.1\" {soon} \"10.0.0.1\"")]),
            ("::ffff:1.2.3.4", vec![format!("non-standard IP address \"::ffff:1.2.3.4\" {soon} \"1.2.3.4\"")]),
            ("10.0.0.0/8", vec![]),
            ("fd00:0::/64", vec![format!("IPv6 CIDR value \"fd00:0::/64\" {form} (\"fd00::/64\")")]),
            (
                "10.0.0.1/8",
                vec!["CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)".to_owned()],
            ),
            ("010.0.0.0/8", vec![format!("non-standard CIDR value \"010.0.0.0/8\" {soon} \"10.0.0.0/8\"")]),
        ] {
            let found = if text.contains('/') {
                network_warnings(text, "a")
            } else {
                address_warning(text, "a").into_iter().collect()
            };
            let expected: Vec<String> = expected.iter().map(|text| format!("a: {text}")).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn endpoints_have_addresses_that_can_be_reached() {
        for (text, why) in [
            ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
            ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            ("fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            ("224.0.0.9", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ] {
            assert_eq!(causes(|out| endpoint(out, text, "a")), [format!("Invalid value: \"{text}\": {why}")]);
        }
    }
}

//! `ip('10.0.0.1')`, `cidr('10.0.0.0/8')`
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-ip-address-library and
//! `#kubernetes-cidr-library`

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Library, text};
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

/// No zone, and no IPv4 address in the clothes of an IPv6 one.
fn parse_ip(text: &str) -> Result<IpAddr, String> {
    match text.parse() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        Ok(ip) => Ok(ip),
        Err(_) if text.contains('%') => Err(format!("IP address {text:?} with zone value is not allowed")),
        Err(_) => Err(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        )),
    }
}

fn parse_cidr(text: &str) -> Result<IpNet, String> {
    let error = || {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): unable to parse network"
        )
    };
    let (_, prefix) = text.split_once('/').ok_or_else(error)?;
    let padded = prefix.len() > 1 && prefix.starts_with('0') || prefix.starts_with('+');
    let net: IpNet = text.parse().map_err(|_| error())?;
    match net.addr() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        _ if padded => Err(error()),
        _ => Ok(net),
    }
}

fn ip_of(value: &Value<'_>) -> Result<IpAddr, Error> {
    match value {
        Value::Library(Library::Ip(ip)) => Ok(*ip),
        other => parse_ip(text(other)?).or_else(failed),
    }
}

fn cidr_of(value: &Value<'_>) -> Result<IpNet, Error> {
    match value {
        Value::Library(Library::Cidr(net)) => Ok(*net),
        other => parse_cidr(text(other)?).or_else(failed),
    }
}

fn to_ip<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    if let Value::Library(Library::Cidr(net)) = &args[0] {
        return Ok(Value::Library(Library::Ip(net.addr())));
    }
    meter.traverse(text(&args[0])?.len())?;
    ip_of(&args[0]).map(|ip| Value::Library(Library::Ip(ip)))
}

fn is_ip<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(Value::Bool(ip_of(&args[0]).is_ok()))
}

fn is_canonical<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    Ok(Value::Bool(ip_of(&args[0])?.to_string() == own))
}

fn family<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(if ip_of(&args[0])?.is_ipv4() { 4 } else { 6 }))
}

fn is_unspecified<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(ip_of(&args[0])?.is_unspecified()))
}

fn is_loopback<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(ip_of(&args[0])?.is_loopback()))
}

fn link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn is_link_local_multicast<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(match ip_of(&args[0])? {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }))
}

fn is_link_local_unicast<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(link_local_unicast(ip_of(&args[0])?)))
}

fn is_global_unicast<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let ip = ip_of(&args[0])?;
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    Ok(Value::Bool(
        !broadcast
            && !ip.is_unspecified()
            && !ip.is_loopback()
            && !ip.is_multicast()
            && !link_local_unicast(ip),
    ))
}

fn to_cidr<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    cidr_of(&args[0]).map(|net| Value::Library(Library::Cidr(net)))
}

fn is_cidr<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(Value::Bool(cidr_of(&args[0]).is_ok()))
}

fn contains_ip<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(cidr_of(&args[0])?.contains(&ip_of(&args[1])?)))
}

fn contains_cidr<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(cidr_of(&args[0])?.contains(&cidr_of(&args[1])?)))
}

fn masked<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Library(Library::Cidr(cidr_of(&args[0])?.trunc())))
}

fn prefix_length<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(cidr_of(&args[0])?.prefix_len().into()))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("ip(string) ip", to_ip),
    ("isIP(string) bool", is_ip),
    ("ip::isCanonical(string) bool", is_canonical),
    ("ip.family() int", family),
    ("ip.isUnspecified() bool", is_unspecified),
    ("ip.isLoopback() bool", is_loopback),
    ("ip.isLinkLocalMulticast() bool", is_link_local_multicast),
    ("ip.isLinkLocalUnicast() bool", is_link_local_unicast),
    ("ip.isGlobalUnicast() bool", is_global_unicast),
    ("cidr(string) cidr", to_cidr),
    ("isCIDR(string) bool", is_cidr),
    ("cidr.containsIP(string) bool", contains_ip),
    ("cidr.containsIP(ip) bool", contains_ip),
    ("cidr.containsCIDR(string) bool", contains_cidr),
    ("cidr.containsCIDR(cidr) bool", contains_cidr),
    ("cidr.ip() ip", to_ip),
    ("cidr.masked() cidr", masked),
    ("cidr.prefixLength() int", prefix_length),
];

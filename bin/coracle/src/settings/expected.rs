//! What a setting of a type may be, in the words of an error for whoever wrote something else.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU16, NonZeroU64},
    str::FromStr,
};

use anyhow::{Result, bail};

pub trait Expected: FromStr {
    const EXPECTED: &'static str;
}

macro_rules! expected {
    ($($kind:ty: $words:literal),* $(,)?) => {
        $(impl Expected for $kind { const EXPECTED: &'static str = $words; })*
    };
}

expected! {
    Ipv4Addr: "an IPv4 address such as 192.0.2.1",
    IpAddr: "an IP address such as 192.0.2.1",
    ipnet::Ipv4Net: "a range of IPv4 addresses such as 10.42.0.0/16",
    NonZeroU16: "a number from 1 to 65535",
    NonZeroU64: "a number from 1 on",
    u32: "a number from 0 to 4294967295",
    u64: "a number from 0 on",
    usize: "a number from 0 on",
    bool: "true or false",
}

pub fn parse<T: Expected>(key: &str, text: &str) -> Result<T> {
    match text.parse() {
        Ok(value) => Ok(value),
        Err(_) => bail!("setting `{key}` is `{text}`, expected {}", T::EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_with_setting_value_and_what_is_expected() {
        let error = |result: Result<String>| result.unwrap_err().to_string();
        fn read<T: Expected + ToString>(text: &str) -> Result<String> {
            parse::<T>("key", text).map(|value| value.to_string())
        }
        for (result, expected) in [
            (read::<NonZeroU16>("0"), "a number from 1 to 65535"),
            (read::<NonZeroU16>("70000"), "a number from 1 to 65535"),
            (read::<Ipv4Addr>("fd00::1"), "an IPv4 address such as 192.0.2.1"),
            (read::<ipnet::Ipv4Net>("10.42.0.0"), "a range of IPv4 addresses such as 10.42.0.0/16"),
            (read::<bool>("yes"), "true or false"),
        ] {
            let error = error(result);
            assert!(error.starts_with("setting `key` is `") && error.ends_with(expected), "{error}");
        }
        assert_eq!(read::<NonZeroU16>("6443").unwrap(), "6443");
    }
}

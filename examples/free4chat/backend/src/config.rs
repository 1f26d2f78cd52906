//! Settings, all from environment variables; the README has the same table.

use std::{
    env::VarError,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use anyhow::{Context, Result, bail};

#[derive(Debug)]
pub struct Config {
    /// `PORT`: HTTP and signalling. Default 8888.
    pub port: u16,
    /// `UDP_PORT`: voice of all members. Default 0, any free port.
    pub udp_port: u16,
    /// `POD_IP`: where browsers near this server reach it. Default: the address of the default route.
    pub ip: IpAddr,
    /// `PUBLIC_UDP`, `IP:PORT`: where browsers elsewhere reach `UDP_PORT`, e.g. through a NodePort. Default none.
    pub public_udp: Option<SocketAddr>,
    /// `FRONTEND_DIR`: the page. Default `frontend`.
    pub frontend: PathBuf,
    /// `DRAIN_SECONDS`: how long to go on as before after SIGTERM, while load balancers learn of it. Default 5.
    pub drain: Duration,
}

impl Config {
    pub fn from_env() -> Result<Config> {
        let config = Config {
            port: variable("PORT")?.unwrap_or(8888),
            udp_port: variable("UDP_PORT")?.unwrap_or(0),
            ip: variable("POD_IP")?.unwrap_or_else(own_address),
            public_udp: variable("PUBLIC_UDP")?,
            frontend: variable("FRONTEND_DIR")?.unwrap_or_else(|| "frontend".into()),
            drain: Duration::from_secs(variable("DRAIN_SECONDS")?.unwrap_or(5)),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        match self.public_udp {
            Some(public) if public.is_ipv4() != self.ip.is_ipv4() => {
                bail!("PUBLIC_UDP `{public}` and POD_IP `{}` must be of the same IP version", self.ip)
            }
            _ => Ok(()),
        }
    }
}

/// An empty value counts as unset: manifests cannot leave a variable out.
fn variable<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>> {
    match std::env::var(name) {
        Ok(text) => parse(name, &text),
        Err(VarError::NotPresent) => Ok(None),
        Err(error) => Err(error).context(format!("read {name}")),
    }
}

fn parse<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(error) => bail!("{name} is `{text}`: {error}"),
    }
}

/// Connecting a UDP socket sends nothing, but makes the kernel choose the address of the default route.
fn own_address() -> IpAddr {
    let chosen = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    chosen().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed_and_mistakes_name_the_variable() {
        assert_eq!(parse::<u16>("PORT", "80").unwrap(), Some(80));
        assert_eq!(parse::<SocketAddr>("PUBLIC_UDP", "").unwrap(), None);
        let error = parse::<u16>("PORT", "http").unwrap_err().to_string();
        assert_eq!(error, "PORT is `http`: invalid digit found in string");
    }
}

//! Every setting, declared once: command-line flag, environment variable and configuration key derive from a row here.

/// One setting of `coracle`. `key` is the flag (`--key`) and the configuration key.
pub struct Setting {
    pub key: &'static str,
    /// What the value is, for `--help`.
    pub value: &'static str,
    /// `None`: worked out at start, as `help` says.
    pub default: Option<&'static str>,
    pub help: &'static str,
    pub scope: Scope,
    pub shape: Shape,
    /// `-t` besides `--tag`.
    pub short: Option<char>,
}

/// How many values a setting has, and how they are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    /// Separated by commas; in the configuration file a list may stand.
    List,
    /// A flag for each, in the variable a line for each, in the configuration file a list: values may hold commas.
    Repeated,
    /// True or false; the flag has no value.
    Switch,
}

/// Which commands take the setting as a flag. In the configuration file all of them may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every command that touches a data directory.
    Everywhere,
    /// `coracle up` alone.
    Up,
    /// `coracle up`, and every command that pulls images.
    Registries,
    /// `coracle kubeconfig` alone.
    Kubeconfig,
    /// `coracle build` alone.
    Build,
    /// `coracle restore` alone.
    Restore,
    /// `coracle down` alone.
    Down,
}

const fn setting(
    key: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    scope: Scope,
    help: &'static str,
) -> Setting {
    Setting { key, value, default, help, scope, shape: Shape::One, short: None }
}

impl Setting {
    const fn list(self) -> Setting {
        Setting { shape: Shape::List, ..self }
    }

    const fn repeated(self) -> Setting {
        Setting { shape: Shape::Repeated, ..self }
    }

    const fn switch(self) -> Setting {
        Setting { shape: Shape::Switch, ..self }
    }

    const fn short(self, letter: char) -> Setting {
        Setting { short: Some(letter), ..self }
    }
}

pub const SETTINGS: &[Setting] = &[
    setting("data-dir", "DIR", Some("/var/lib/coracle"), Scope::Everywhere, "Where everything durable lives"),
    setting(
        "run-dir",
        "DIR",
        Some("/run/coracle"),
        Scope::Everywhere,
        "Sockets and pinned namespaces, gone after a reboot",
    ),
    setting(
        "log",
        "FILTER",
        Some("warn"),
        Scope::Everywhere,
        "Log filter: error, warn, info, debug, or TARGET=LEVEL,…",
    ),
    setting(
        "node-ip",
        "IP",
        None,
        Scope::Up,
        "The node's address [default: the source address of the default route]",
    ),
    setting("node-name", "NAME", None, Scope::Up, "The node's name [default: the host name, in lower case]"),
    setting("api-port", "PORT", Some("6443"), Scope::Up, "Port of the Kubernetes API"),
    setting("http-port", "PORT", Some("80"), Scope::Up, "Port of the ingress for HTTP"),
    setting("https-port", "PORT", Some("443"), Scope::Up, "Port of the ingress for HTTPS"),
    setting(
        "api-sans",
        "NAMES",
        Some(""),
        Scope::Up,
        "More names or addresses for the API's certificate, separated by commas",
    )
    .list(),
    setting("cluster-domain", "DOMAIN", Some("cluster.local"), Scope::Up, "DNS domain of the cluster"),
    setting("pod-cidr", "CIDR", Some("10.42.0.0/16"), Scope::Up, "Addresses of pods"),
    setting("service-cidr", "CIDR", Some("10.43.0.0/16"), Scope::Up, "Addresses of Services"),
    setting(
        "cluster-dns",
        "IP",
        None,
        Scope::Up,
        "Address of the cluster's DNS, inside service-cidr [default: the tenth of service-cidr]",
    ),
    setting(
        "upstream-dns",
        "IPS",
        Some(""),
        Scope::Up,
        "Name servers for names outside the cluster, separated by commas [default: those of /etc/resolv.conf]",
    )
    .list(),
    setting("node-ports", "RANGE", Some("30000-32767"), Scope::Up, "Ports for Services of type NodePort"),
    setting("max-pods", "NUMBER", Some("110"), Scope::Up, "How many pods the node takes"),
    setting(
        "pod-log-dir",
        "DIR",
        Some("/var/log/pods"),
        Scope::Everywhere,
        "Where the logs of containers lie",
    ),
    setting(
        "registry-mirrors",
        "LIST",
        Some(""),
        Scope::Registries,
        "Mirrors tried before a registry: docker.io=mirror.example:5000, separated by commas",
    )
    .list(),
    setting(
        "plain-http-registries",
        "HOSTS",
        Some(""),
        Scope::Registries,
        "Registries spoken to over plain HTTP, separated by commas",
    )
    .list(),
    setting(
        "audit-policy-file",
        "FILE",
        Some(""),
        Scope::Up,
        "Policy (audit.k8s.io/v1) of what is audited [default: changes, and reads of Secrets]",
    ),
    setting(
        "audit-log-path",
        "FILE",
        None,
        Scope::Up,
        "Where the audit log lies, `-`: standard output, or `off` [default: audit/audit.log in data-dir]",
    ),
    setting("audit-log-maxsize", "MIB", Some("20"), Scope::Up, "Size at which the audit log is rotated"),
    setting(
        "audit-log-maxbackup",
        "NUMBER",
        Some("5"),
        Scope::Up,
        "How many rotated audit logs stay, 0: all",
    ),
    setting(
        "audit-log-maxage",
        "DAYS",
        Some("30"),
        Scope::Up,
        "How long rotated audit logs stay, 0: forever",
    ),
    setting(
        "max-requests-inflight",
        "NUMBER",
        Some("400"),
        Scope::Up,
        "Reading API requests at a time; flow control shares out the sum of this and the next",
    ),
    setting(
        "max-mutating-requests-inflight",
        "NUMBER",
        Some("200"),
        Scope::Up,
        "Writing API requests at a time",
    ),
    setting(
        "authentication-config",
        "FILE",
        Some(""),
        Scope::Up,
        "AuthenticationConfiguration (apiserver.config.k8s.io/v1): issuers whose tokens are taken, in place of oidc-*; read again when it changes",
    ),
    setting(
        "oidc-issuer-url",
        "URL",
        Some(""),
        Scope::Up,
        "OpenID Connect issuer (https) whose tokens are taken; its keys are fetched when a token needs them",
    ),
    setting("oidc-client-id", "ID", Some(""), Scope::Up, "Audience that tokens of the issuer must have"),
    setting("oidc-username-claim", "CLAIM", Some("sub"), Scope::Up, "Claim that names the user"),
    setting(
        "oidc-username-prefix",
        "PREFIX",
        Some(""),
        Scope::Up,
        "Before user names, `-` for none [default: the issuer and `#`, unless the claim is `email`]",
    ),
    setting("oidc-groups-claim", "CLAIM", Some(""), Scope::Up, "Claim that lists the user's groups"),
    setting("oidc-groups-prefix", "PREFIX", Some(""), Scope::Up, "Before names of groups"),
    setting(
        "oidc-required-claims",
        "LIST",
        Some(""),
        Scope::Up,
        "Claims that must be there: CLAIM=VALUE, separated by commas",
    )
    .list(),
    setting(
        "oidc-signing-algs",
        "LIST",
        Some("RS256"),
        Scope::Up,
        "Signatures that are taken: RS, PS and ES with 256 or 384, RS512, PS512",
    )
    .list(),
    setting(
        "oidc-ca-file",
        "FILE",
        Some(""),
        Scope::Up,
        "Certificate authorities of the issuer [default: those that browsers and this machine trust]",
    ),
    setting(
        "request-timeout",
        "SECONDS",
        Some("60"),
        Scope::Up,
        "After which API requests end that are not watches or streams",
    ),
    setting(
        "expiry-seconds",
        "N",
        None,
        Scope::Kubeconfig,
        "How long the kubeconfig's certificate is valid [default: one year]",
    ),
    setting("namespace", "NS", None, Scope::Kubeconfig, "Namespace of the kubeconfig's context"),
    setting("tag", "NAME", None, Scope::Build, "Name of the image, given again for each further one")
        .repeated()
        .short('t'),
    setting("file", "FILE", None, Scope::Build, "Dockerfile, - reads standard input [default: DIR/Dockerfile]").short('f'),
    setting(
        "build-arg",
        "KEY=VALUE",
        None,
        Scope::Build,
        "Value of an ARG, given again for each further one; a bare KEY takes it from the environment, if it is there",
    )
    .repeated(),
    setting("target", "STAGE", None, Scope::Build, "Stage to build [default: the last]"),
    setting(
        "replace",
        "BOOL",
        None,
        Scope::Restore,
        "Replace the cluster that is there; it is kept in DATA-DIR/before-restore",
    )
    .switch(),
    setting(
        "grace-period",
        "SECONDS",
        Some("30"),
        Scope::Down,
        "How long pods get to end at most (preStop, SIGTERM), each its own grace period; then they are killed",
    ),
];

impl Scope {
    /// Whether a command of scope `self` takes the flags of scope `setting`.
    pub fn takes(self, setting: Scope) -> bool {
        let pulls = matches!(self, Scope::Up | Scope::Build);
        setting == Scope::Everywhere || setting == self || (pulls && setting == Scope::Registries)
    }
}

/// The environment variable of a setting: `data-dir` is `CORACLE_DATA_DIR`.
pub fn environment_name(key: &str) -> String {
    format!("CORACLE_{}", key.replace('-', "_").to_uppercase())
}

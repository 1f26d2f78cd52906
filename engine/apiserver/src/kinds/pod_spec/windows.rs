//! What a security context says for Windows alone.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`validateWindowsSecurityContextOptions`, `validateWindowsHostProcessPod`)

use serde_json::Value;

use super::{
    super::checks::{Causes, add},
    containers,
};
use crate::{metadata::subdomain_problems, status::Cause};

const CREDENTIALS_MAX_BYTES: usize = 64 * 1024;
const DOMAIN_MAX_BYTES: usize = 255;
const NETBIOS_MAX_CHARACTERS: usize = 15;
const DNS_LABEL_MAX_BYTES: usize = 63;
const USER_MAX_BYTES: usize = 104;

/// `windowsOptions` of a pod or a container.
pub fn options(out: &mut Causes, options: &Value, path: &str) {
    if let Some(name) = options["gmsaCredentialSpecName"].as_str() {
        add(out, &format!("{path}.gmsaCredentialSpecName"), name, subdomain_problems(name));
    }
    let at = |field: &str| format!("{path}.{field}");
    if let Some(credentials) = options["gmsaCredentialSpec"].as_str() {
        let problem = match credentials.len() {
            0 => Some("gmsaCredentialSpec cannot be an empty string"),
            bytes if bytes > CREDENTIALS_MAX_BYTES => Some("gmsaCredentialSpec size must be under 64 KiB"),
            _ => None,
        };
        out.extend(problem.map(|why| Cause::invalid(at("gmsaCredentialSpec"), credentials, why)));
    }
    if let Some(name) = options["runAsUserName"].as_str() {
        let problems = user_problems(name);
        out.extend(
            problems
                .iter()
                .map(|why| Cause::invalid(at("runAsUserName"), name, &format!("runAsUserName{why}"))),
        );
    }
}

/// Of `USER` or `DOMAIN\USER`, as they follow the field's name.
fn user_problems(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec![" cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec![" cannot contain control characters"];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => return vec![" cannot contain more than one backslash"],
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let is_long = domain.is_some_and(|domain| domain.len() > DOMAIN_MAX_BYTES);
    [
        (is_long, "'s Domain length must be under 256 characters"),
        (
            domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)),
            "'s Domain doesn't match the NetBios nor the DNS format",
        ),
        (user.is_empty(), "'s User cannot be empty"),
        (user.len() > USER_MAX_BYTES, "'s User length must not be longer than 104 characters"),
        (
            !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')),
            "'s User cannot contain only periods or spaces",
        ),
        (
            user.contains(|c| "\"/\\:;|=,+*?<>@[]".contains(c)),
            "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]",
        ),
    ]
    .into_iter()
    .filter_map(|(is_wrong, why)| is_wrong.then_some(why))
    .collect()
}

fn is_netbios(domain: &str) -> bool {
    (1..=NETBIOS_MAX_CHARACTERS).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(|c| "\\/:*?\"<>|".contains(c))
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=DNS_LABEL_MAX_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Processes of the host are those of all containers, and on its network.
pub fn host_process(out: &mut Causes, spec: &Value, path: &str) {
    let of = |part: &Value| part["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let (whole, all) = (of(spec), containers(spec, path));
    for (at, own) in all.iter().filter_map(|(at, container)| Some((at, of(container)?))) {
        if let Some(whole) = whole.filter(|whole| *whole != own) {
            let why = format!("pod hostProcess value must be identical if both are specified, was {whole}");
            out.push(Cause::invalid(format!("{at}.securityContext.windowsOptions.hostProcess"), own, &why));
        }
    }
    let count = all.iter().filter(|(_, container)| of(container).or(whole) == Some(true)).count();
    if count == 0 {
        return;
    }
    if count != all.len() {
        let why =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        out.push(Cause::invalid(path, "", why));
    }
    if spec["hostNetwork"] != true {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        out.push(Cause::invalid(format!("{path}.hostNetwork"), false, why));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn options_for_windows_get_the_stock_causes() {
        let named = |name: &str| json!({"runAsUserName": name});
        let why = |name: &str, why: &str| {
            format!("o.runAsUserName: Invalid value: {}: runAsUserName{why}", json!(name))
        };
        let cases: &[(&str, &str)] = &[
            ("", " cannot be an empty string"),
            ("a\tb", " cannot contain control characters"),
            ("a\\b\\c", " cannot contain more than one backslash"),
            ("a b.example\\c", ""),
            ("b.example-of-a-long-domain.org\\c", ""),
            ("a b.example-of-a-long-domain.org\\c", "'s Domain doesn't match the NetBios nor the DNS format"),
            ("a\\", "'s User cannot be empty"),
            (". .", "'s User cannot contain only periods or spaces"),
            ("a@b", "'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"),
        ];
        for (name, problem) in cases {
            let expected = (!problem.is_empty()).then(|| why(name, problem));
            let expected: Vec<&str> = expected.as_deref().into_iter().collect();
            let check = |own: &Value| {
                let mut out = Vec::new();
                options(&mut out, own, "o");
                out
            };
            assert_cases(json!({"gmsaCredentialSpecName": "a.b"}), check, &[(named(name), &expected)]);
        }
    }

    #[test]
    fn processes_of_the_host_get_the_stock_causes() {
        let context = |own: bool| json!({"securityContext": {"windowsOptions": {"hostProcess": own}}});
        let check = |spec: &Value| {
            let mut out = Vec::new();
            host_process(&mut out, spec, "spec");
            out
        };
        let network = "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers";
        let all = "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess containers";
        let other = "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true";
        let mut mixed = context(true);
        mixed["containers"] = json!([context(false), {}]);
        assert_cases(
            json!({"containers": [{}, {}]}),
            check,
            &[
                (json!({"hostNetwork": true, "containers": [context(true), context(true)]}), &[]),
                (context(true), &[network]),
                (json!({"hostNetwork": true, "containers": [context(true), {}]}), &[all]),
                (mixed, &[other, all, network]),
            ],
        );
    }
}

//! What Go calls the fields of built-in kinds where the schema does not tell. Read only when an error names them.

/// The format is told in its header.
const NAMES: &str = include_str!("../data/go_types.txt");

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoNames {
    /// Of the embedded structs that lead to the field, joined by dots.
    pub embedded: &'static str,
    /// The field's type, its elements' and so on, joined by `|`.
    pub types: &'static str,
}

pub(crate) fn find(package: &str, name: &str, field: &str) -> Option<GoNames> {
    let is_start = |line: &str, sign: &str, name: &str| line.strip_prefix(sign) == Some(name);
    let package = NAMES.lines().skip_while(|line| !is_start(line, "P ", package)).skip(1);
    let types = package.take_while(|line| !line.starts_with("P "));
    let of_type = types.skip_while(|line| !is_start(line, "T ", name)).skip(1);
    let mut fields = of_type.take_while(|line| !line.starts_with("T ")).map(|line| line.splitn(3, ' '));
    let mut words = fields.find_map(|mut words| (words.next() == Some(field)).then_some(words))?;
    let (embedded, types) = (words.next()?, words.next()?);
    Some(GoNames { embedded: if embedded == "-" { "" } else { embedded }, types })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_their_type() {
        let core = |name, field| find("io.k8s.api.core.v1", name, field);
        let names = |embedded, types| Some(GoNames { embedded, types });
        assert_eq!(core("Volume", "hostPath"), names("VolumeSource", "-"));
        assert_eq!(core("Capabilities", "drop"), names("", "[]v1.Capability|v1.Capability"));
        assert_eq!(core("Volume", "name"), None);
        assert_eq!(core("Nosuch", "hostPath"), None);
    }
}

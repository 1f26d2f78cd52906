//! What is known about types while they are read from the two crates and merged.

/// `api/apps/v1` → `io.k8s.api.apps.v1`.
pub fn package_name(folder: &str) -> String {
    let dotted = folder.replace('/', ".");
    let dotted = match dotted.strip_prefix("apiextensions_apiserver") {
        Some(rest) => format!("apiextensions-apiserver{rest}"),
        None => dotted,
    };
    let dotted = match dotted.strip_prefix("kube_aggregator") {
        Some(rest) => format!("kube-aggregator{rest}"),
        None => dotted,
    };
    format!("io.k8s.{dotted}")
}

/// Names are spelled with different capitals and separators in the two crates.
pub fn normalized(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[derive(Clone, Debug, PartialEq)]
pub enum Ty {
    /// One letter, as in `types.txt`.
    Scalar(char),
    Ref {
        package: String,
        name: String,
    },
    List(Box<Ty>),
    Map(Box<Ty>),
}

impl Ty {
    /// Types that are objects or tuples in the sources, but scalars to the table.
    pub fn named(package: String, name: String) -> Ty {
        let scalar = match (package.as_str(), normalized(&name).as_str()) {
            ("io.k8s.apimachinery.pkg.api.resource", "quantity") => 'q',
            ("io.k8s.apimachinery.pkg.util.intstr", "intorstring") => 'x',
            ("io.k8s.apimachinery.pkg.apis.meta.v1", "time") => 't',
            ("io.k8s.apimachinery.pkg.apis.meta.v1", "microtime") => 'm',
            ("io.k8s.apimachinery.pkg.apis.meta.v1", "fieldsv1") => 'f',
            ("io.k8s.apimachinery.pkg.runtime", "rawextension") => 'r',
            (_, "json") => 'j',
            (_, "jsonschemapropsorarray") => 'a',
            (_, "jsonschemapropsorbool") => 'o',
            (_, "jsonschemapropsorstringarray") => 'p',
            (_, "customresourcesubresourcestatus") => 'e',
            (_, "verbs" | "extravalue") => 'S',
            _ => return Ty::Ref { package, name },
        };
        Ty::Scalar(scalar)
    }
}

#[derive(Debug, Default)]
pub struct OpenType {
    pub package: String,
    pub name: String,
    pub description: String,
    pub fields: Vec<OpenField>,
    pub group_version_kind: Option<(String, String, String)>,
    pub list_kind: Option<String>,
}

#[derive(Debug)]
pub struct OpenField {
    pub json: String,
    pub ty: Ty,
    pub required: bool,
    pub description: String,
}

#[derive(Debug)]
pub struct Message {
    pub package: String,
    pub name: String,
    pub docs: Vec<String>,
    pub fields: Vec<MessageField>,
}

#[derive(Debug)]
pub struct MessageField {
    pub name: String,
    pub number: u32,
    pub ty: Ty,
    pub docs: Vec<String>,
}

impl MessageField {
    /// The values of `+name=value` marker lines.
    pub fn markers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        markers(&self.docs, name)
    }
}

pub fn markers<'a>(docs: &'a [String], name: &'a str) -> impl Iterator<Item = &'a str> {
    docs.iter().filter_map(move |line| {
        let rest = line.trim().strip_prefix('+')?.strip_prefix(name)?;
        rest.strip_prefix('=').or(rest.is_empty().then_some(""))
    })
}

/// One type of `types.txt`.
#[derive(Debug)]
pub struct Type {
    pub package: String,
    pub name: String,
    pub description: String,
    pub atomic: bool,
    pub group_version_kind: Option<(String, String, String)>,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub struct Field {
    pub json: String,
    pub description: String,
    /// Protobuf field numbers from the outermost message inwards: more than one where Go embeds a struct.
    pub numbers: Vec<u32>,
    pub ty: Ty,
    pub required: bool,
    pub list_type: Option<String>,
    pub list_keys: Vec<String>,
    /// `atomic` or `granular`, of a map or a struct.
    pub map_type: Option<String>,
    pub patch_strategy: Option<String>,
    pub patch_merge_key: Option<String>,
    pub default: Option<String>,
    /// Go's struct has a pointer: its zero is a value.
    pub pointer: bool,
    /// Go's JSON shows it even when it is zero.
    pub printed: bool,
}

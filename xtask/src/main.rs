//! Tasks of the work tree: `cargo xtask schema` writes the generated files of `api/schema`.

mod schema;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("schema") => schema::write(),
        _ => bail!("usage: cargo xtask schema"),
    }
}

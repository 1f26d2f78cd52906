//! ADD: like COPY, and local archives (tar, tar.gz) are unpacked. Which files are archives, and who owns the target.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use crate::{
    StepError, StepResult, copy,
    unpack::{self, Onto},
};

/// What the first bytes of a file say.
enum Archive {
    Tar,
    Gzip,
    NotYet(&'static str),
    No,
}

/// Compressions that are not unpacked yet, by the first bytes: copied as they are, the image would lack the files.
const NOT_YET: [(&[u8], &str); 3] = [(b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd")];

/// Unpacks `file` if it is an archive. False: it is a plain file. `owner` (`--chown`) is that of the target where it is new:
/// entries have their own.
pub fn unpack(file: &Path, onto: &Onto<'_>, owner: Option<(u32, u32)>) -> StepResult<bool> {
    let opened = File::open(file).map_err(StepError::io("read", file))?;
    let kind = recognize(&opened).map_err(StepError::io("read", file))?;
    let reader: Box<dyn Read> = match kind {
        Archive::No => return Ok(false),
        Archive::NotYet(kind) => {
            return Err(StepError::Input(format!(
                "ADD does not unpack {kind} yet: unpack `{}` before the build, or COPY it as it is",
                file.display()
            )));
        }
        Archive::Tar => Box::new(opened),
        Archive::Gzip => Box::new(MultiGzDecoder::new(opened)),
    };
    copy::make_directories(onto.layer, onto.target, onto.image, owner)?;
    unpack::unpack(reader, file, onto)?;
    Ok(true)
}

/// A gzip file counts as an archive if a tar is inside.
fn recognize(mut file: &File) -> std::io::Result<Archive> {
    let head = read_head(&mut file)?;
    file.rewind()?;
    if let Some((_, kind)) = NOT_YET.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(Archive::NotYet(kind));
    }
    if is_tar(&head) {
        return Ok(Archive::Tar);
    }
    let inside = if head.starts_with(&[0x1f, 0x8b]) {
        read_head(&mut MultiGzDecoder::new(file)).unwrap_or_default()
    } else {
        Vec::new()
    };
    file.rewind()?;
    Ok(if is_tar(&inside) { Archive::Gzip } else { Archive::No })
}

fn read_head(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(512).read_to_end(&mut head)?;
    Ok(head)
}

fn is_tar(head: &[u8]) -> bool {
    head.len() == 512 && &head[257..262] == b"ustar"
}

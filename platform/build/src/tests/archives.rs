//! ADD of archives onto an image, and COPY beside them.

use std::{fs, io, os::unix::fs::symlink, path::Path};

use tar::EntryType;

use super::{Recorded, is_root, request_of};
use crate::build;

/// An archive by its entries: `d/ MODE OWNER` is a directory, `l -> x` a link, `h = x` a hard link (600, root's), `p| MODE OWNER` a FIFO,
/// `c# MAJOR MINOR` a device, `f MODE OWNER` a file.
fn write_tar(file: &Path, entries: &[&str]) {
    let mut tar = tar::Builder::new(fs::File::create(file).unwrap());
    for text in entries {
        let words: Vec<&str> = text.split(' ').collect();
        let (kind, name) = match (words[1], words[0].chars().last()) {
            ("->", _) => (EntryType::Symlink, words[0]),
            ("=", _) => (EntryType::Link, words[0]),
            (_, Some('/')) => (EntryType::Directory, words[0]),
            (_, Some('|')) => (EntryType::Fifo, words[0].trim_end_matches('|')),
            (_, Some('#')) => (EntryType::Char, words[0].trim_end_matches('#')),
            _ => (EntryType::Regular, words[0]),
        };
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mtime(1000);
        let (mut mode, mut owner) = (0o600, 0);
        match kind {
            EntryType::Symlink | EntryType::Link => header.set_link_name(words[2]).unwrap(),
            EntryType::Char => {
                header.set_device_major(words[1].parse().unwrap()).unwrap();
                header.set_device_minor(words[2].parse().unwrap()).unwrap();
            }
            _ => (mode, owner) = (u32::from_str_radix(words[1], 8).unwrap(), words[2].parse().unwrap()),
        }
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_cksum();
        tar.append(&header, io::empty()).unwrap();
    }
    tar.finish().unwrap();
}

/// The last layer of a build in `context`, or what went wrong.
fn last_layer(context: &Path, dockerfile: &str) -> Result<Vec<String>, String> {
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let images = Recorded::default();
    build(&request_of(context), &images, &mut |_| {}).map_err(|error| error.to_string())?;
    assert!(*images.newest.borrow() <= 1000, "nothing bears the time of the build");
    Ok(images.committed.take().unwrap().2.pop().unwrap())
}

/// What the archive has, how it is added, and the layer or the error.
type Case<'a> = (&'a [&'a str], &'a str, Result<&'a [&'a str], &'a str>);

const BASE: [&str; 12] = [
    "tmp/ 1777 3",
    "home/ 750 5",
    "home/me/ 700 6",
    "usr/ 755 0",
    "usr/bin/ 751 2",
    "usr/bin/sh 755 0",
    "bin -> usr/bin",
    "abs -> /home/me",
    "out -> ../../../../etc",
    "loop -> loop",
    "file 4640 7",
    "alias -> file",
];

#[test]
fn an_archive_sees_the_image_below() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    #[rustfmt::skip]
    let cases: &[Case] = &[
        // Directories on the way.
        (&["tmp/a 644 1"], "a.tar /", Ok(&["tmp/ 1777 3", "tmp/a 644 1"])),
        (&["home/me/a 644 1"], "a.tar /", Ok(&["home/ 750 5", "home/me/ 700 6", "home/me/a 644 1"])),
        (&["me/a 644 1"], "a.tar /home", Ok(&["home/ 750 5", "home/me/ 700 6", "home/me/a 644 1"])),
        (&["tmp/ 700 1", "tmp/a 644 1"], "a.tar /", Ok(&["tmp/ 700 1", "tmp/a 644 1"])),
        (&["./ 700 1", "./a 644 1"], "a.tar /tmp/", Ok(&["tmp/ 1777 3", "tmp/a 644 1"])),
        (&["new/a 644 1"], "a.tar /", Ok(&["new/ 755 0", "new/a 644 1"])),
        (&["d/a 644 1"], "--chown=9:9 a.tar /x/", Ok(&["x/ 755 9", "x/d/ 755 0", "x/d/a 644 1"])),
        (&["a 644 1"], "--chown=9:9 a.tar /tmp/y/", Ok(&["tmp/ 1777 3", "tmp/y/ 755 9", "tmp/y/a 644 1"])),
        (&["file/a 644 1"], "a.tar /", Err("entry `file/a` of `a.tar`: cannot copy to non-directory: /file")),
        // Links on the way.
        (&["bin/tool 755 0"], "a.tar /", Ok(&["usr/ 755 0", "usr/bin/ 751 2", "usr/bin/tool 755 0"])),
        (&["tool 755 0"], "a.tar /bin", Ok(&["usr/ 755 0", "usr/bin/ 751 2", "usr/bin/tool 755 0"])),
        (&["abs/a 644 1"], "a.tar /", Ok(&["home/ 750 5", "home/me/ 700 6", "home/me/a 644 1"])),
        (&["out/a 644 1"], "a.tar /", Ok(&["etc/ 755 0", "etc/a 644 1"])),
        (&["l -> /tmp", "l/a 644 1"], "a.tar /", Ok(&["l 777 0", "tmp/ 1777 3", "tmp/a 644 1"])),
        (&["loop/a 644 1"], "a.tar /", Err("too many symbolic links in `/loop`")),
        (&["bin/ 700 1", "bin/a 644 1"], "a.tar /", Ok(&["usr/ 755 0", "usr/bin/ 700 1", "usr/bin/a 644 1"])),
        (&["root -> /", "root/ 700 1", "root/a 644 1"], "a.tar /", Ok(&["a 644 1", "root 777 0"])),
        // What is in an entry's place is replaced.
        (&["alias 644 1"], "a.tar /", Ok(&["alias 644 1"])),
        (&["a 644 1", "a/ 700 1", "a/b 644 1"], "a.tar /", Ok(&["a/ 700 1", "a/b 644 1"])),
        (&["a/b 644 1", "a 600 1"], "a.tar /", Ok(&["a 600 1"])),
        // Hard links.
        (&["h = file"], "a.tar /", Ok(&["file 600 0", "h 600 0"])),
        (&["h = bin/sh"], "a.tar /", Ok(&["h 600 0", "usr/ 755 0", "usr/bin/ 751 2", "usr/bin/sh 600 0"])),
        (&["h = alias"], "a.tar /", Ok(&["alias 777 0", "h 777 0"])),
        (&["f 600 0", "h = f", "h = f"], "a.tar /", Ok(&["f 600 0", "h 600 0"])),
        (&["f 600 0", "h = f"], "a.tar a.tar /", Ok(&["f 600 0", "h 600 0"])),
        (&["f 640 1", "f = f"], "a.tar /", Ok(&["f 640 1"])),
        (&["h = absent"], "a.tar /", Err("entry `h` of `a.tar`: hard link to `absent`, which neither")),
        (&["h = tmp"], "a.tar /", Err("hard link to `tmp`, which is a directory")),
        // No way out.
        (&["../a 644 1"], "a.tar /tmp", Err("entry `../a` of `a.tar`: `../a` leads out of `/tmp`")),
        (&["h = ../file"], "a.tar /tmp", Err("`../file` leads out of `/tmp`")),
        (&["/a 644 1"], "a.tar /tmp", Ok(&["tmp/ 1777 3", "tmp/a 644 1"])),
        // What is no file.
        (&["p| 610 4"], "a.tar /", Ok(&["p| 610 4"])),
        (&["c# 0 0"], "a.tar /", Err("character device 0/0")),
    ];
    for (entries, add, expected) in cases {
        let context = tempfile::tempdir().unwrap();
        write_tar(&context.path().join("base.tar"), &BASE);
        write_tar(&context.path().join("a.tar"), entries);
        let found = last_layer(context.path(), &format!("FROM scratch\nADD base.tar /\nADD {add}\n"));
        let expected = expected.map(|lines| lines.iter().map(|line| line.to_string()).collect::<Vec<_>>());
        match (&found, &expected) {
            (Err(said), Err(part)) => {
                let said =
                    said.replace(&format!("{}/", context.path().canonicalize().unwrap().display()), "");
                assert!(said.contains(part) && said.contains("Dockerfile:3: "), "{entries:?} {add}: {said}");
            }
            _ => assert_eq!(found.as_deref().ok(), expected.as_deref().ok(), "{entries:?} {add}: {found:?}"),
        }
    }
}

#[test]
fn all_members_of_a_gzip_are_unpacked() {
    use io::Write;

    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    write_tar(&context.path().join("a.tar"), &["a 644 1", "b 644 1"]);
    let whole = fs::read(context.path().join("a.tar")).unwrap();
    let mut file = fs::File::create(context.path().join("a.tgz")).unwrap();
    for member in [&whole[..512], &whole[512..]] {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(member).unwrap();
        file.write_all(&packed.finish().unwrap()).unwrap();
    }
    assert_eq!(last_layer(context.path(), "FROM scratch\nADD a.tgz /\n").unwrap(), ["a 644 1", "b 644 1"]);
}

#[test]
fn a_device_is_made_or_refused_and_a_stage_gives_special_files_away() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    let text = "FROM scratch AS a\nADD a.tar /d/\nFROM scratch\nCOPY --from=a /d /\n";
    write_tar(&context.path().join("a.tar"), &["p| 610 4"]);
    assert_eq!(last_layer(context.path(), text).unwrap(), ["p| 610 4"]);
    write_tar(&context.path().join("a.tar"), &["c# 1 3"]);
    match last_layer(context.path(), text) {
        Ok(layer) => assert_eq!(layer, ["c#1:3 600 0"]),
        Err(said) => assert!(said.contains("Dockerfile:2: ") && said.contains("device 1/3"), "{said}"),
    }
}

#[test]
fn what_an_earlier_source_left_is_not_written_through() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let refused = "Dockerfile:2: cannot copy to non-directory: /x/l";
    for (sources, expected) in [
        ("COPY link dir /x/", Err(refused)),
        ("ADD link.tar dir /x/", Err(refused)),
        ("COPY link file /x/", Ok(&["x/ 755 0", "x/l 644 0"][..])),
        ("ADD turned.tar file /x/", Ok(&["outside/ 755 0", "outside/l 644 0", "x 777 0"][..])),
    ] {
        let context = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |path: &str| context.path().join(path);
        for directory in ["link", "dir/l", "file"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        symlink(outside.path(), at("link/l")).unwrap();
        for file in ["dir/l/evil", "file/l"] {
            fs::write(at(file), "").unwrap();
            let aged = fs::File::options().write(true).open(at(file)).unwrap();
            aged.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let link = format!("l -> {}", outside.path().display());
        write_tar(&at("link.tar"), &[link.as_str()]);
        write_tar(&at("turned.tar"), &["up -> /", "up/x -> /outside"]);
        let touched =
            std::process::Command::new("touch").args(["-h", "-d", "@1000"]).arg(at("link/l")).status();
        assert!(touched.unwrap().success());
        let found = last_layer(context.path(), &format!("FROM scratch\n{sources}\n"));
        match expected {
            Ok(layer) => assert_eq!(found.unwrap(), layer, "{sources}"),
            Err(part) => {
                assert!(found.as_ref().is_err_and(|said| said.ends_with(part)), "{sources}: {found:?}")
            }
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{sources}");
    }
}

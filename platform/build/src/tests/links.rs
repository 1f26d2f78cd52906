//! Links in what COPY and ADD are given.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{Recorded, is_root, request_of};
use crate::build;

#[test]
fn links_lead_neither_out_of_the_context_nor_around_what_it_ignores() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let (context, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |path: &str| context.path().join(path);
    let alike = at(outside.path().strip_prefix("/").unwrap().to_str().unwrap());
    for directory in [&alike, &at("d")] {
        fs::create_dir_all(directory).unwrap();
    }
    for file in [
        outside.path().join("host"),
        outside.path().join("a.tar"),
        alike.join("own"),
        at("secret"),
        at("d/e"),
    ] {
        fs::write(file, "").unwrap();
    }
    fs::write(at(".dockerignore"), "secret\nd\nhidden\n").unwrap();
    for (link, to) in [
        ("out", outside.path()),
        ("out.tar", &outside.path().join("a.tar")),
        ("pub", Path::new("secret")),
        ("dir", Path::new("d")),
        ("hidden", &outside.path().join("own")),
    ] {
        symlink(to, at(link)).unwrap();
    }
    for (instruction, expected) in [
        ("COPY out /x/", Ok("x/ 755 0, x/own 644 0")),
        ("COPY out/own /x/", Ok("x/ 755 0, x/own 644 0")),
        ("COPY out/host /x/", Err("\"/out/host\": not found")),
        ("ADD *.tar /x/", Err("\"/out.tar\": not found")),
        ("COPY pub /x/", Err("\"/pub\": not found")),
        ("COPY pu? /x/", Err("\"/pub\": not found")),
        ("COPY dir /x/", Err("\"/dir\": not found")),
        ("COPY dir/e /x/", Err("\"/dir/e\": not found")),
        ("COPY hidden /x/", Err("\"/hidden\": not found")),
    ] {
        fs::write(at("Dockerfile"), format!("FROM scratch\n{instruction}\n")).unwrap();
        let images = Recorded::default();
        let built =
            build(&request_of(context.path()), &images, &mut |_| {}).map_err(|error| error.to_string());
        match expected {
            Ok(layer) => {
                built.unwrap();
                assert_eq!(images.committed.take().unwrap().2[0].join(", "), layer, "{instruction}");
            }
            Err(part) => {
                assert!(built.as_ref().is_err_and(|said| said.contains(part)), "{instruction}: {built:?}")
            }
        }
    }
}

#[test]
fn what_a_link_of_a_stage_leads_to_is_called_as_the_link() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    let at = |path: &str| context.path().join("r").join(path);
    fs::create_dir_all(at("usr/lib")).unwrap();
    fs::write(at("usr/lib/z.so.1"), "").unwrap();
    symlink("z.so.1", at("usr/lib/z.so")).unwrap();
    symlink("usr/lib", at("lib")).unwrap();
    for (sources, expected) in [
        ("/usr/lib/z.so", "x/ 755 0, x/z.so 644 0"),
        ("/usr/lib/z.so*", "x/ 755 0, x/z.so 644 0, x/z.so.1 644 0"),
        ("/lib/z*", "x/ 755 0, x/z.so 644 0, x/z.so.1 644 0"),
        ("/l*b/z*", ""),
    ] {
        let text = format!("FROM scratch AS s\nCOPY r/ /\nFROM scratch\nCOPY --from=s {sources} /x/\n");
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let images = Recorded::default();
        build(&request_of(context.path()), &images, &mut |_| {}).unwrap();
        let layers = images.committed.take().unwrap().2;
        assert_eq!(layers.last().map(|layer| layer.join(", ")).unwrap_or_default(), expected, "{sources}");
    }
}

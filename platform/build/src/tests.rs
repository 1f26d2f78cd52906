mod archives;
mod links;

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{Base, BuildError, Dockerfile, Images, Layer, Request, build, config::DEFAULT_PATH};

/// Tags, configuration, and every layer's paths.
type Committed = (Vec<String>, Value, Vec<Vec<String>>);

/// Keeps what was committed.
#[derive(Default)]
struct Recorded {
    committed: RefCell<Option<Committed>>,
    /// The latest time of an entry, in seconds.
    newest: RefCell<u64>,
    /// Where the layers lay.
    files: RefCell<Vec<PathBuf>>,
}

impl Images for Recorded {
    fn base(&self, reference: &str) -> Result<Base, String> {
        Err(format!("no image `{reference}`"))
    }

    fn commit(&self, tags: &[String], config: &Value, layers: &[Layer]) -> Result<String, String> {
        *self.files.borrow_mut() = layers.iter().filter_map(|layer| layer.file.clone()).collect();
        let paths = layers.iter().map(|layer| {
            let mut tar = tar::Archive::new(fs::File::open(layer.file.as_ref().unwrap()).unwrap());
            let entries = tar.entries().unwrap().map(|entry| {
                let entry = entry.unwrap();
                let mtime = entry.header().mtime().unwrap();
                self.newest.replace_with(|newest| mtime.max(*newest));
                format!(
                    "{}{} {:o} {}",
                    entry.path().unwrap().display(),
                    special(entry.header()),
                    entry.header().mode().unwrap(),
                    owner(entry.header())
                )
            });
            entries.collect()
        });
        *self.committed.borrow_mut() = Some((tags.to_vec(), config.clone(), paths.collect()));
        Ok("sha256:id".into())
    }
}

fn run(
    dockerfile: &str,
    files: &[(&str, u32)],
    args: &[(&str, &str)],
) -> Result<(Value, Vec<Vec<String>>), BuildError> {
    let context = tempfile::tempdir().unwrap();
    for (path, mode) in files {
        let place = context.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::set_permissions(place.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&place, path).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).unwrap();
    }
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let request = Request {
        tags: vec!["app:v1".into()],
        build_args: args.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        ..request_of(context.path())
    };
    let images = Recorded::default();
    build(&request, &images, &mut |_| {})?;
    let (_, config, layers) = images.committed.into_inner().unwrap();
    Ok((config, layers))
}

/// The group is told where it is not the user's number.
fn owner(header: &tar::Header) -> String {
    match (header.uid().unwrap(), header.gid().unwrap()) {
        (uid, gid) if uid == gid => uid.to_string(),
        (uid, gid) => format!("{uid}:{gid}"),
    }
}

/// A mark of what is neither a file, a directory nor a link.
fn special(header: &tar::Header) -> String {
    let number = |part: std::io::Result<Option<u32>>| part.unwrap().unwrap_or_default();
    match header.entry_type() {
        tar::EntryType::Fifo => "|".into(),
        tar::EntryType::Char => {
            format!("#{}:{}", number(header.device_major()), number(header.device_minor()))
        }
        _ => String::new(),
    }
}

/// Files of the context are given to root, which only root can do.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}

/// The first variable of every image that begins at `scratch`.
fn path() -> String {
    format!("PATH={DEFAULT_PATH}")
}

#[test]
fn an_image_without_a_base_has_a_path_and_a_directory() {
    let (config, _) = run("FROM scratch\nENV PATH=/opt/app:$PATH\n", &[], &[]).unwrap();
    let expected = format!("PATH=/opt/app:{DEFAULT_PATH}");
    assert_eq!(config["config"], json!({"Env": [expected], "WorkingDir": "/"}));
}

#[test]
fn an_image_is_built_in_stages() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let dockerfile = "ARG DIR=opt\nFROM scratch AS files\nARG DIR\nCOPY bin/app /$DIR/app\n\nFROM scratch\nARG VERSION=1\n\
        COPY --from=files --chown=1000 --chmod=0555 /opt/app /usr/bin/\nCOPY conf /etc/conf\nENV VERSION=$VERSION NAME=\"a b\"\n\
        EXPOSE 8888 9000-9001/udp\nWORKDIR /data\nUSER 1000\nLABEL a=b\nENTRYPOINT [\"/usr/bin/app\"]\nCMD serve\n";
    let (config, layers) =
        run(dockerfile, &[("bin/app", 0o755), ("conf/a", 0o644), ("conf/sub/b", 0o600)], &[("VERSION", "2")])
            .unwrap();
    assert_eq!(
        layers,
        [
            vec!["usr/ 755 1000", "usr/bin/ 755 1000", "usr/bin/app 555 1000"],
            vec![
                "etc/ 755 0",
                "etc/conf/ 755 0",
                "etc/conf/a 644 0",
                "etc/conf/sub/ 755 0",
                "etc/conf/sub/b 600 0"
            ],
            vec!["data/ 755 0"],
        ]
    );
    let expected = json!({
        "Env": [path(), "VERSION=2", "NAME=a b"],
        "ExposedPorts": {"8888/tcp": {}, "9000/udp": {}, "9001/udp": {}},
        "WorkingDir": "/data",
        "User": "1000",
        "Labels": {"a": "b"},
        "Entrypoint": ["/usr/bin/app"],
        "Cmd": ["/bin/sh", "-c", "serve"],
    });
    let mut found = config["config"].clone();
    found.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    assert_eq!(found, expected);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 3);
}

#[test]
fn relative_paths_are_below_the_working_directory() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let files = [("a.txt", 0o644)];
    let cases = [
        ("COPY a.txt ./", "app/src/a.txt 644 0"),
        ("COPY a.txt .", "app/src/a.txt 644 0"),
        ("COPY a.txt lib/.", "app/src/lib/a.txt 644 0"),
        ("COPY a.txt ../a", "app/a 644 0"),
        ("WORKDIR ../lib/.\nCOPY ./a.txt b", "app/lib/b 644 0"),
        ("COPY ./a.* ../x/../a.txt", "app/a.txt 644 0"),
    ];
    for (lines, file) in cases {
        let (_, layers) = run(&format!("FROM scratch\nWORKDIR /app/src\n{lines}\n"), &files, &[]).unwrap();
        assert_eq!(layers.last().unwrap().last().unwrap(), file, "{lines}");
    }
    let (config, _) = run("FROM scratch\nWORKDIR /app/src\nWORKDIR ./../lib/\n", &[], &[]).unwrap();
    assert_eq!(config["config"]["WorkingDir"], "/app/lib");
}

#[test]
fn what_is_only_configuration_is_kept() {
    let dockerfile = "FROM scratch AS base\nMAINTAINER Ada <ada@example.com>\nSTOPSIGNAL SIGQUIT\nSHELL [\"/bin/ash\", \"-c\"]\n\
        HEALTHCHECK --interval=5s CMD ping\nONBUILD ENV MADE=\"of $NAME\"\nONBUILD LABEL from=base\nCMD serve\n\
        FROM base\nENV NAME=x\n";
    let (base, _) = run(dockerfile.split("FROM base").next().unwrap(), &[], &[]).unwrap();
    let config = &base["config"];
    assert_eq!(base["author"], "Ada <ada@example.com>");
    assert_eq!(config["StopSignal"], "SIGQUIT");
    assert_eq!(config["Cmd"], json!(["/bin/ash", "-c", "serve"]));
    assert_eq!(config["Healthcheck"], json!({"Test": ["CMD-SHELL", "ping"], "Interval": 5_000_000_000_i64}));
    assert_eq!(config["OnBuild"], json!(["ENV MADE=\"of $NAME\"", "LABEL from=base"]));
    // Its triggers run right after FROM, once.
    let (child, _) = run(dockerfile, &[], &[]).unwrap();
    assert_eq!(child["config"]["Env"], json!([path(), "MADE=of ", "NAME=x"]));
    assert_eq!(
        (&child["config"]["Labels"]["from"], &child["config"]["OnBuild"]),
        (&json!("base"), &Value::Null)
    );
}

#[test]
fn mistakes_name_their_line() {
    let cases: [(&str, &str); 10] = [
        ("FROM absent\n\nRUN make\n", "Dockerfile:3: RUN is not supported yet"),
        ("FROM scratch AS a\nONBUILD RUN make\nFROM a\n", "Dockerfile:3: RUN is not supported yet"),
        ("FROM scratch AS a\nFROM scratch\nCOPY --from=3 a /\n", "Dockerfile:3: invalid stage index 3"),
        ("FROM scratch\nENV A=FOO\nSTOPSIGNAL SIG$A\n", "Dockerfile:3: Invalid signal: SIGFOO"),
        ("FROM scratch\nSTOPSIGNAL 0\n", "Dockerfile:2: Invalid signal: 0"),
        ("FROM absent\n", "Dockerfile:1: no image `absent`"),
        ("FROM scratch\nCOPY absent /\n", "Dockerfile:2: \"/absent\": not found"),
        ("FROM scratch\nCOPY a b c\n", "Dockerfile:2: \"/a\": not found"),
        (
            "FROM scratch\nCOPY --chown=nobody Dockerfile /\n",
            "Dockerfile:2: `nobody` is not in the image's /etc/passwd",
        ),
        (
            "FROM scratch\nADD https://example.com/x /\n",
            "Dockerfile:2: ADD from an address is not supported yet",
        ),
    ];
    for (dockerfile, part) in cases {
        let said = run(dockerfile, &[], &[]).unwrap_err().to_string();
        assert!(said.contains(part), "{dockerfile:?}: {said}");
    }
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM absent AS a\n").unwrap();
    let request = Request { target: Some("b".into()), ..request_of(context.path()) };
    let told_at_once = build(&request, &Recorded::default(), &mut |_| {});
    assert!(matches!(told_at_once, Err(BuildError::NoSuchStage(_))));
}

#[test]
fn an_owner_without_a_group_has_its_own() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let dockerfile = "FROM scratch\nCOPY etc/passwd /etc/\nCOPY --chown=web a /1\nCOPY --chown=7 a /2\nCOPY --chown=web:8 a /3\n";
    let context = tempfile::tempdir().unwrap();
    fs::create_dir(context.path().join("etc")).unwrap();
    fs::write(context.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:5:33::/:/bin/sh\n").unwrap();
    fs::write(context.path().join("a"), "a").unwrap();
    fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
    let images = Recorded::default();
    build(&request_of(context.path()), &images, &mut |_| {}).unwrap();
    let (.., layers) = images.committed.into_inner().unwrap();
    assert_eq!(layers[1..], [["1 644 5:33"], ["2 644 7"], ["3 644 5:8"]]);
}

#[test]
fn a_working_directory_that_is_made_belongs_to_the_user() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    fs::create_dir(context.path().join("etc")).unwrap();
    fs::write(context.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:5:33::/:/bin/sh\n").unwrap();
    fs::write(context.path().join("etc/group"), "www:x:44:\n").unwrap();
    let cases: [(&str, Result<&[&str], &str>); 10] = [
        ("WORKDIR /a/b", Ok(&["a/ 755 0", "a/b/ 755 0"])),
        ("USER web\nWORKDIR /a/b", Ok(&["a/ 755 5:33", "a/b/ 755 5:33"])),
        ("USER 7\nWORKDIR /a", Ok(&["a/ 755 7"])),
        ("USER 7:8\nWORKDIR /a", Ok(&["a/ 755 7:8"])),
        ("USER web:www\nWORKDIR /a", Ok(&["a/ 755 5:44"])),
        ("WORKDIR /a\nUSER 7\nWORKDIR b", Ok(&["a/ 755 0", "a/b/ 755 7"])),
        ("USER 7\nFROM a\nWORKDIR /a", Ok(&["a/ 755 7"])),
        ("USER 7\nUSER root\nWORKDIR /a", Ok(&["a/ 755 0"])),
        ("USER 7\nCOPY etc/group /a/", Ok(&["a/ 755 0", "a/group 644 0"])),
        ("USER nobody\nWORKDIR /a", Err("Dockerfile:4: `nobody` is not in the image's /etc/passwd")),
    ];
    for (lines, expected) in cases {
        let text = format!("FROM scratch AS a\nCOPY etc /etc\n{lines}\n");
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let images = Recorded::default();
        let built = build(&request_of(context.path()), &images, &mut |_| {});
        match expected {
            Ok(layer) => {
                built.unwrap();
                assert_eq!(images.committed.take().unwrap().2.last().unwrap(), layer, "{lines}");
            }
            Err(part) => assert!(built.unwrap_err().to_string().ends_with(part), "{lines}"),
        }
    }
}

#[test]
fn of_two_stages_of_one_name_the_last_before_is_meant() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let stages = "FROM scratch AS a\nLABEL v=1\nWORKDIR /1\nFROM scratch AS a\nLABEL v=2\nWORKDIR /2\n";
    let (config, _) = run(&format!("{stages}FROM a AS b\nFROM scratch AS a\nFROM b\n"), &[], &[]).unwrap();
    assert_eq!(config["config"]["Labels"]["v"], "2");
    let (_, layers) = run(&format!("{stages}FROM scratch\nCOPY --from=a / /\n"), &[], &[]).unwrap();
    assert_eq!(layers, [["2/ 755 0"]]);
}

#[test]
fn the_last_value_of_an_argument_counts() {
    let args = [("V", "1"), ("V", "2")];
    let (config, _) = run("FROM scratch\nARG V=0\nLABEL v=$V\n", &[], &args).unwrap();
    assert_eq!(config["config"]["Labels"]["v"], "2");
}

#[test]
fn of_an_argument_and_a_variable_the_later_one_counts() {
    for (lines, args, expected) in [
        ("ENV V=1\nARG V=2\n", &[][..], "2"),
        ("ENV V=1\nARG V\n", &[], "1"),
        ("ENV V=1\nARG V\n", &[("V", "3")], "3"),
        ("ARG V=2\nENV V=1\n", &[], "1"),
        ("ARG V=2\nENV V=1\nARG V=4\n", &[], "4"),
        ("ARG V=2\nENV V=$V\n\nFROM a\nARG V=5\n", &[], "5"),
    ] {
        let (config, _) = run(&format!("FROM scratch AS a\n{lines}LABEL v=$V\n"), &[], args).unwrap();
        assert_eq!(config["config"]["Labels"]["v"], expected, "{lines}");
    }
}

#[test]
fn several_sources_need_a_directory() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let files = [("a1", 0o644), ("a2", 0o644)];
    let (_, layers) = run("FROM scratch\nWORKDIR /app\nCOPY a* /app\n", &files, &[]).unwrap();
    assert_eq!(layers[1], ["app/ 755 0", "app/a1 644 0", "app/a2 644 0"]);
    let error = run("FROM scratch\nCOPY a* /app\n", &files, &[]).unwrap_err();
    assert!(error.to_string().contains("must be a directory"), "{error}");
    assert!(run("FROM scratch\nCOPY b* /app/\n", &files, &[]).is_ok());
    let error = run("FROM scratch\nCOPY dist/* /app/\n", &files, &[]).unwrap_err();
    assert!(error.to_string().contains("\"/dist\": not found"), "{error}");
}

#[test]
fn signals_go_by_number_or_name() {
    for signal in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-1", "SIGPOLL"] {
        assert!(run(&format!("FROM scratch\nSTOPSIGNAL {signal}\n"), &[], &[]).is_ok(), "{signal}");
    }
}

#[test]
fn what_is_built_of_a_target_is_counted_and_told_whole() {
    let text = "ARG A=1\nFROM scratch AS a\nENV B=2 \\\n    C=3\nFROM scratch\nENV D=4\n";
    for (target, last) in [(Some("a"), "[3/3] ENV B=2     C=3"), (None, "[3/3] ENV D=4")] {
        let context = tempfile::tempdir().unwrap();
        let request = Request {
            dockerfile: Some(Dockerfile::Text(text.into())),
            target: target.map(str::to_owned),
            ..request_of(context.path())
        };
        let (images, mut lines) = (Recorded::default(), Vec::new());
        build(&request, &images, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines.last().unwrap(), last);
        let history = &images.committed.take().unwrap().1["history"];
        assert_eq!(history[0]["created_by"], last.split_once("] ").unwrap().1);
    }
}

#[test]
fn a_stage_on_an_earlier_one_has_its_arguments() {
    for (lines, expected) in [
        ("FROM a\nLABEL v=$V\n", "1"),
        ("FROM a AS b\nFROM b\nLABEL v=$V\n", "1"),
        ("FROM a\nARG V=2\nLABEL v=$V\n", "2"),
        ("FROM scratch\nLABEL v=$V\n", ""),
    ] {
        let (config, _) = run(&format!("FROM scratch AS a\nARG V=1\n{lines}"), &[], &[]).unwrap();
        assert_eq!(config["config"]["Labels"]["v"], expected, "{lines}");
    }
}

#[test]
fn a_stage_that_the_target_does_not_need_is_not_built() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let needless = "FROM absent AS tests\nRUN make\nCOPY absent /\n";
    let text = format!(
        "FROM scratch AS a\nLABEL a=1\n{needless}FROM a AS b\nWORKDIR /b\nFROM scratch\nCOPY --from=2 /b /b\n"
    );
    let (_, layers) = run(&text, &[], &[]).unwrap();
    assert_eq!(layers.len(), 1, "numbers of stages are those of the file");
}

#[test]
fn layers_are_made_in_the_directory_that_is_given_and_leave_nothing() {
    let (context, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let request = Request {
        work: work.path().into(),
        dockerfile: Some(Dockerfile::Text("FROM scratch\nWORKDIR /a\n".into())),
        ..request_of(context.path())
    };
    let images = Recorded::default();
    build(&request, &images, &mut |_| {}).unwrap();
    let files = images.files.take();
    assert!(files.len() == 1 && files[0].starts_with(work.path()), "{files:?}");
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 0);
}

/// An image of another day.
struct Dated;

impl Images for Dated {
    fn base(&self, _: &str) -> Result<Base, String> {
        let config = json!({"created": "2020-01-01T00:00:00Z", "config": {}});
        Ok(Base { config, layers: vec![], directories: vec![] })
    }

    fn commit(&self, _: &[String], config: &Value, _: &[Layer]) -> Result<String, String> {
        Ok(config["created"].to_string())
    }
}

#[test]
fn an_image_does_not_bear_the_date_of_its_base() {
    for (text, created) in [("FROM a\n", "\"2020-01-01T00:00:00Z\""), ("FROM a\nENV A=1\n", "null")] {
        let context = tempfile::tempdir().unwrap();
        let request =
            Request { dockerfile: Some(Dockerfile::Text(text.into())), ..request_of(context.path()) };
        assert_eq!(build(&request, &Dated, &mut |_| {}).unwrap(), created, "{text}");
    }
}

#[test]
fn an_argument_that_nothing_declares_is_a_warning() {
    for (name, warned) in [("X", true), ("VERSION", false), ("https_proxy", false)] {
        let context = tempfile::tempdir().unwrap();
        let text = "\u{feff}ARG VERSION=0\nARG VERSION=1\nFROM scratch\nARG VERSION\nENV V=$VERSION\n";
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let request = Request { build_args: vec![(name.into(), "2".into())], ..request_of(context.path()) };
        let (images, mut lines) = (Recorded::default(), Vec::new());
        build(&request, &images, &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines.iter().any(|line| line.starts_with("warning: ")), warned, "{name}: {lines:?}");
        let config = images.committed.take().unwrap().1;
        assert_eq!(config["config"]["Env"], json!([path(), if name == "VERSION" { "V=2" } else { "V=1" }]));
    }
}

#[test]
fn a_directory_does_not_take_the_place_of_a_link() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    for directory in ["usr/bin", "usrmerged"] {
        fs::create_dir_all(context.path().join(directory)).unwrap();
    }
    std::os::unix::fs::symlink("usr/bin", context.path().join("usrmerged/bin")).unwrap();
    fs::create_dir_all(context.path().join("more/bin")).unwrap();
    fs::write(context.path().join("more/bin/app"), "").unwrap();
    for (copy, refused) in
        [("more/ /", Some("/bin")), ("more/bin/ /bin/", None), ("more/ /Dockerfile", Some("/Dockerfile"))]
    {
        let text = format!("FROM scratch\nCOPY usr /usr/\nCOPY usrmerged Dockerfile /\nCOPY {copy}\n");
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let built = build(&request_of(context.path()), &Recorded::default(), &mut |_| {});
        let said = built.err().map(|error| error.to_string());
        let expected = refused.map(|path| format!("Dockerfile:4: cannot copy to non-directory: {path}"));
        assert_eq!(said.is_some(), expected.is_some(), "{copy}: {said:?}");
        assert!(said.unwrap_or_default().ends_with(&expected.unwrap_or_default()), "{copy}");
    }
}

/// The Dockerfile of `context`, and nothing else said.
fn request_of(context: &Path) -> Request {
    Request {
        context: context.into(),
        work: std::env::temp_dir(),
        dockerfile: None,
        tags: vec![],
        build_args: vec![],
        target: None,
    }
}

#[test]
fn an_archive_that_cannot_be_unpacked_is_not_copied_in_its_place() {
    let context = tempfile::tempdir().unwrap();
    fs::write(context.path().join("a.tar.xz"), b"\xfd7zXZ\0...").unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nADD a.tar.xz /a/\n").unwrap();
    let request = request_of(context.path());
    let said = build(&request, &Recorded::default(), &mut |_| {}).unwrap_err().to_string();
    assert!(said.contains("Dockerfile:2: ") && said.contains("does not unpack xz yet"), "{said}");
}

#[test]
fn ignored_files_do_not_exist() {
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let files = [("a.txt", 0o644), ("b.md", 0o644), (".dockerignore", 0o644)];
    let context = tempfile::tempdir().unwrap();
    for (path, _) in files {
        fs::write(context.path().join(path), "*.md\n.dockerignore\nDockerfile\n").unwrap();
    }
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let request = request_of(context.path());
    let images = Recorded::default();
    build(&request, &images, &mut |_| {}).unwrap();
    let (_, _, layers) = images.committed.take().unwrap();
    assert_eq!(layers, [vec!["a.txt 644 0"]]);
    for source in ["./b.md", "./b.md a*"] {
        fs::write(context.path().join("Dockerfile"), format!("FROM scratch\nCOPY {source} /\n")).unwrap();
        let said = build(&request, &images, &mut |_| {}).unwrap_err().to_string();
        assert!(said.contains("\"/b.md\": not found"), "{source}: {said}");
    }
    // A pattern may match nothing: that is how an optional file is copied.
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY a.txt b.* none* /\n").unwrap();
    build(&request, &images, &mut |_| {}).unwrap();
    assert_eq!(images.committed.take().unwrap().2, [vec!["a.txt 644 0"]]);

    for directory in ["gone/deep", "kept/deep"] {
        fs::create_dir_all(context.path().join(directory)).unwrap();
    }
    fs::write(context.path().join("kept/deep/back"), "").unwrap();
    std::os::unix::fs::symlink("kept", context.path().join("link")).unwrap();
    fs::write(context.path().join(".dockerignore"), "*\n!kept/deep/back\n").unwrap();
    fs::write(context.path().join("Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    build(&request, &images, &mut |_| {}).unwrap();
    let layers = images.committed.take().unwrap().2;
    assert_eq!(layers, [vec!["kept/ 755 0", "kept/deep/ 755 0", "kept/deep/back 644 0"]]);
}

#[test]
fn an_image_changes_with_its_files_and_with_nothing_else() {
    use std::os::unix::fs::symlink;
    if !is_root() {
        return eprintln!("skipped: only root can give files away");
    }
    let context = tempfile::tempdir().unwrap();
    let at = |path: &str| context.path().join(path);
    fs::create_dir_all(at("web/sub")).unwrap();
    let dockerfile = "FROM scratch AS a\nCOPY web /srv/web/\nFROM scratch\nWORKDIR /data\nCOPY --from=a /srv /srv\n\
        COPY web/sub/file /opt/x/\nADD a.tar /added/\n";
    fs::write(at("Dockerfile"), dockerfile).unwrap();
    fs::write(at(".dockerignore"), "**/*.swp\n").unwrap();
    fs::write(at("web/sub/file"), "one").unwrap();
    symlink("file", at("web/sub/link")).unwrap();
    let age = |path: &str| {
        // As tar does: what a link itself is set to cannot be said with the standard library.
        let done = std::process::Command::new("touch").args(["-h", "-d", "@1000"]).arg(at(path)).status();
        assert!(done.unwrap().success());
    };
    let mut archive = tar::Builder::new(fs::File::create(at("a.tar")).unwrap());
    age("web/sub/file");
    age("web/sub/link");
    archive.append_dir_all("dir", at("web")).unwrap();
    archive.finish().unwrap();
    let built = || {
        let images = Recorded::default();
        build(&request_of(context.path()), &images, &mut |_| {}).unwrap();
        let newest = *images.newest.borrow();
        (images.committed.take().unwrap().1, newest)
    };
    let (first, newest) = built();
    assert_eq!(newest, 1000, "nothing bears the time of the build");
    fs::write(at("web/sub/ignored.swp"), "").unwrap();
    assert_eq!(built().0, first);
    let mut known = vec![first];
    let changes: [(&str, &dyn Fn()); 3] = [
        ("content", &|| {
            fs::write(at("web/sub/file"), "two").unwrap();
            age("web/sub/file");
        }),
        ("mode", &|| fs::set_permissions(at("web/sub/file"), fs::Permissions::from_mode(0o600)).unwrap()),
        ("link", &|| {
            fs::remove_file(at("web/sub/link")).unwrap();
            symlink("elif", at("web/sub/link")).unwrap();
            age("web/sub/link");
        }),
    ];
    for (name, change) in changes {
        change();
        let image = built().0;
        assert!(!known.contains(&image), "{name}");
        known.push(image);
    }
}

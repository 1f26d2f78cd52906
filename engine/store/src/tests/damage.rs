//! Every byte of the files cut off or changed: the store opens with what was written, or says what is damaged.

use super::{sim_disk::SimDisk, *};
use crate::{
    Disk, OpenError,
    keyring::Keyring,
    log::segment_path,
    recover::{Recovered, recover},
    state::State,
};
use Durability::Durable;

const SEGMENT: u64 = 2048;

/// Commits one after the other and is killed; the contents after each commit, and the disk.
async fn history_of(commits: usize) -> (Vec<String>, SimDisk) {
    let disk = SimDisk::default();
    let store = open(&disk).await.unwrap();
    let writer = store.writer();
    let mut states = vec![text(&store.reader().snapshot().state)];
    for n in 0..commits {
        let name = format!("{}/default/{}", if n % 3 == 0 { "secrets" } else { "pods" }, n % 7);
        let current = store.reader().get(&key(&name));
        let write = match current {
            None => put(&name, Expect::Absent, &n.to_string(), Durable),
            Some(object) if n % 5 == 0 => delete(&name, object.revision, Durable),
            Some(object) => put(&name, Expect::Revision(object.revision), &n.to_string(), Durable),
        };
        writer.commit(write).await.unwrap();
        states.push(text(&store.reader().snapshot().state));
    }
    // The end writes a last record; what a killed process leaves is taken before.
    let killed = disk.after_kill();
    store.close().await;
    (states, killed)
}

async fn open(disk: &SimDisk) -> Result<Store, OpenError> {
    Store::open_sized(Arc::new(disk.clone()), config(Path::new("/s")), SEGMENT).await
}

fn text(state: &State) -> String {
    state.iter().map(|object| format!("{}={} ", object.key, String::from_utf8_lossy(&object.json))).collect()
}

fn read(disk: &SimDisk) -> Result<String, OpenError> {
    let dir = Path::new("/s");
    let keyring = Keyring::load(disk, dir)?;
    let Recovered { state, .. } = recover(disk, dir, SEGMENT, &keyring)?;
    Ok(text(&state))
}

fn last_log(disk: &SimDisk) -> (std::path::PathBuf, Vec<u8>) {
    let log = |path: &Path| path.to_string_lossy().contains("/log-");
    let mut logs =
        disk.files().into_iter().filter(|(path, bytes)| log(path) && bytes[64..].iter().any(|b| *b != 0));
    logs.next_back().unwrap()
}

#[tokio::test]
async fn the_loss_of_the_only_log_is_told() {
    let disk = SimDisk::default();
    open(&disk).await.unwrap().close().await;
    let (log, _) =
        disk.files().into_iter().find(|(path, _)| path.to_string_lossy().contains("/log-")).unwrap();
    disk.remove(&log).unwrap();
    let error = read(&disk).unwrap_err();
    assert!(matches!(&error, OpenError::Missing { path } if *path == log), "{error}");
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_a_state_that_was_acknowledged_and_takes_new_commits() {
    let (states, disk) = history_of(43).await;
    let (path, bytes) = last_log(&disk);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut seen = 0;
    for cut in 64..=end + 8 {
        let disk = disk.after_kill();
        disk.set(&path, resized(&bytes, cut as u64, SEGMENT));
        let found = read(&disk).unwrap();
        let at = states.iter().position(|state| *state == found).unwrap();
        assert!(at >= seen, "a longer log has not less in it");
        seen = at;
        if cut % 13 == 0 {
            takes_new_commits(&disk).await;
        }
    }
    assert_eq!(seen, states.len() - 1);
}

#[tokio::test]
async fn a_log_file_that_is_shorter_than_it_was_made_is_refused_and_opens_after_the_remedy() {
    let (states, disk) = history_of(43).await;
    let (path, bytes) = last_log(&disk);
    let (mut offset, file) = (0, path.display());
    for cut in 64..SEGMENT {
        let disk = disk.after_kill();
        disk.set(&path, bytes[..cut as usize].to_vec());
        let error = read(&disk).unwrap_err();
        let OpenError::Damaged { path: at, offset: valid, remedy, .. } = &error else { panic!("{error}") };
        assert!(*at == path && (offset..=cut).contains(valid), "cut at {cut}: {error}");
        let commands = format!("`truncate -s {valid} {file} && truncate -s {SEGMENT} {file}`");
        assert!(remedy.contains(&commands), "{remedy}");
        offset = *valid;
        disk.set(&path, resized(&bytes, offset, SEGMENT));
        assert!(states.contains(&read(&disk).unwrap()));
        if cut % 57 == 0 {
            takes_new_commits(&disk).await;
        }
    }
}

/// What `truncate -s len` and then `truncate -s full` make of a file.
fn resized(bytes: &[u8], len: u64, full: u64) -> Vec<u8> {
    let mut bytes = bytes[..len as usize].to_vec();
    bytes.resize(full as usize, 0);
    bytes
}

async fn takes_new_commits(disk: &SimDisk) {
    let store = open(disk).await.unwrap();
    create(&store.writer(), "pods/new/after", "1").await.unwrap();
    store.close().await;
    let store = open(disk).await.unwrap();
    assert!(store.reader().get(&key("pods/new/after")).is_some());
}

#[tokio::test]
async fn a_changed_byte_is_refused_or_takes_the_last_record_alone() {
    let (states, disk) = history_of(43).await;
    let (last, _) = last_log(&disk);
    let (whole, cut) = (&states[states.len() - 1], &states[states.len() - 2]);
    let (mut refused, mut cuts) = (0, 0);
    for (path, bytes) in disk.files() {
        for at in 0..bytes.len() {
            let disk = disk.after_kill();
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            disk.set(&path, damaged);
            match read(&disk) {
                Ok(found) if found == *whole => {}
                Ok(found) => {
                    assert!(found == *cut && path == last, "byte {at} of {}: {found}", path.display());
                    cuts += 1;
                }
                Err(OpenError::Damaged { .. } | OpenError::Key { .. } | OpenError::Format { .. }) => {
                    refused += 1
                }
                Err(error) => panic!("byte {at} of {}: {error}", path.display()),
            }
        }
    }
    assert!(cuts > 100 && cuts < 400 && refused > 2000, "cuts {cuts}, refused {refused}");
}

#[tokio::test]
async fn damage_in_the_middle_names_the_file_the_offset_and_a_way_out_that_works() {
    let (states, disk) = history_of(40).await;
    let (path, mut bytes) = last_log(&disk);
    bytes[64 + 30] ^= 1;
    disk.set(&path, bytes.clone());
    let error = read(&disk).unwrap_err().to_string();
    assert!(error.starts_with(&format!("`{}` is damaged at byte 64: ", path.display())), "{error}");
    assert!(
        error.contains(&format!("`truncate -s 64 {0} && truncate -s 2048 {0}`", path.display())),
        "{error}"
    );
    disk.set(&path, resized(&bytes, 64, SEGMENT));
    assert!(states.contains(&read(&disk).unwrap()));
}

#[tokio::test]
async fn a_missing_file_is_named_the_newest_one_too() {
    // Two segments: the first checkpoint begins with the third.
    let (states, whole) = history_of(18).await;
    let first = segment_path(Path::new("/s"), 1);
    let (last, _) = last_log(&whole);
    assert_ne!(last, first);
    for path in [first, last] {
        let disk = whole.after_kill();
        disk.remove(&path).unwrap();
        match read(&disk).unwrap_err() {
            OpenError::Missing { path: missing } => assert_eq!(missing, path),
            // A checkpoint could have replaced it.
            OpenError::MissingStart { log, .. } => assert_eq!(log, path),
            error => panic!("{error}"),
        }
    }
    assert_eq!(read(&whole).unwrap(), states[18]);
}

#[tokio::test]
async fn a_log_that_ends_between_two_segments_goes_on_in_the_second() {
    let (states, disk) = history_of(40).await;
    let (last, mut bytes) = last_log(&disk);
    bytes[64..].fill(0);
    disk.set(&last, bytes);
    assert!(states.contains(&read(&disk).unwrap()));
    for n in 0..30 {
        let store = open(&disk).await.unwrap();
        create(&store.writer(), &format!("services/new/{n:02}"), "1").await.unwrap();
        store.close().await;
    }
    let store = open(&disk).await.unwrap();
    assert_eq!(store.reader().snapshot().list(&crate::Scope::all(Resource::new("services"))).count(), 30);
}

#[tokio::test]
async fn checkpoints_let_old_logs_go() {
    let (states, disk) = history_of(400).await;
    let names: Vec<String> = disk.list(Path::new("/s")).unwrap();
    // The last checkpoint may have been under way when the store was closed.
    let of = |prefix: &str| {
        names.iter().filter(|name| name.starts_with(prefix) && !name.ends_with(".tmp")).count()
    };
    assert!(of("checkpoint-") > 0 && of("log-") < 8, "{names:?}");
    assert_eq!(read(&disk).unwrap(), states[400]);
    let names: Vec<String> = disk.list(Path::new("/s")).unwrap();
    let checkpoints = names.iter().filter(|name| name.starts_with("checkpoint-"));
    assert_eq!(checkpoints.count(), 1, "{names:?}");
}

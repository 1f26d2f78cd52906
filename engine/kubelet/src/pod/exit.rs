//! What a container's end means: its reason, and the message it left behind.
//!
//! Source:    https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/

use std::path::Path;

use coracle_runtime::Exit;
use k8s_openapi::api::core::v1::Container;

use super::observed::Terminated;
use crate::logs;

const MAX_MESSAGE_BYTES: usize = 4096;
const FALLBACK_LINES: i64 = 80;
const FALLBACK_BYTES: usize = 2048;

/// Without a message. Pure.
pub fn terminated(id: &str, exit: &Exit) -> Terminated {
    let reason = match exit {
        Exit { start_error: Some(_), .. } => "StartError",
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    Terminated {
        id: id.to_owned(),
        code: exit.code,
        signal: None,
        reason: reason.to_owned(),
        message: exit.start_error.clone(),
        started_at: exit.started_at_unix_ms,
        finished_at: exit.finished_at_unix_ms,
    }
}

/// What the container wrote last to its termination message file, or at the end of its log when it asks for that.
pub async fn message(container: &Container, code: i32, file: &Path, log: &Path) -> Option<String> {
    let text = tokio::fs::read(file).await.unwrap_or_default();
    if !text.is_empty() {
        let from = text.len().saturating_sub(MAX_MESSAGE_BYTES);
        return Some(String::from_utf8_lossy(&text[from..]).into_owned());
    }
    let fall_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if fall_back && code != 0 {
        return Some(logs::last_words(log, FALLBACK_LINES, FALLBACK_BYTES).await).filter(|t| !t.is_empty());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit {
            code,
            signal: None,
            oom_killed: false,
            started_at_unix_ms: 1,
            finished_at_unix_ms: 2,
            start_error: None,
        }
    }

    #[test]
    fn reasons_are_the_stock_ones() {
        let reason = |exit: &Exit| terminated("x", exit).reason;
        assert_eq!(reason(&exit(0)), "Completed");
        assert_eq!(reason(&exit(3)), "Error");
        assert_eq!(reason(&Exit { oom_killed: true, ..exit(137) }), "OOMKilled");
        let failed = Exit { start_error: Some("exec: no such file".into()), ..exit(128) };
        assert_eq!(terminated("x", &failed).message.as_deref(), Some("exec: no such file"));
        assert_eq!(reason(&failed), "StartError");
    }

    #[tokio::test]
    async fn the_message_comes_from_the_file_or_from_the_log_on_error() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("m"), dir.path().join("0.log"));
        std::fs::write(&log, "2026-11-23T07:00:00Z stderr F why\n").unwrap();
        let plain = Container::default();
        let falls =
            Container { termination_message_policy: Some("FallbackToLogsOnError".into()), ..plain.clone() };
        assert_eq!(message(&plain, 1, &file, &log).await, None);
        assert_eq!(message(&falls, 1, &file, &log).await.as_deref(), Some("why\n"));
        assert_eq!(message(&falls, 0, &file, &log).await, None);
        std::fs::write(&file, "own words").unwrap();
        assert_eq!(message(&falls, 1, &file, &log).await.as_deref(), Some("own words"));
        std::fs::write(&file, [vec![b'a'; 4096], b"end".to_vec()].concat()).unwrap();
        let long = message(&falls, 1, &file, &log).await.unwrap();
        assert!(long.len() == 4096 && long.ends_with("aend"));
    }
}

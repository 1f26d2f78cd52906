//! `user[:group]` of an image or pod as numbers, by the image's own /etc/passwd and /etc/group.
//!
//! Source: https://github.com/containerd/containerd/blob/main/pkg/oci/spec_opts.go (`WithUser`, `WithAdditionalGIDs`)

use std::{fs, path::PathBuf};

use super::{ImageError, ImageStore, blocking};
use crate::User;

impl ImageStore {
    /// Resolves `user[:group]`; empty means root. A user that is only a number needs no entry.
    pub async fn resolve_user(&self, image_id: &str, user: &str) -> Result<User, ImageError> {
        let layers = self.layers(image_id).await?;
        let user = user.to_string();
        blocking(move || {
            let read = |path: &str| topmost(&layers, path);
            resolve(&user, &read("etc/passwd"), &read("etc/group"))
        })
        .await
    }
}

/// The file of the uppermost layer that has it. Links are not followed.
fn topmost(layers: &[PathBuf], path: &str) -> String {
    let places = layers.iter().rev().map(|layer| layer.join(path));
    let mut files = places.filter(|place| place.symlink_metadata().is_ok());
    let file = files.next().filter(|place| place.symlink_metadata().is_ok_and(|metadata| metadata.is_file()));
    file.and_then(|place| fs::read_to_string(place).ok()).unwrap_or_default()
}

fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, ImageError> {
    let (user, wanted_group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let user = if user.is_empty() { "0" } else { user };
    let fields = |line: &str| line.split(':').map(str::to_string).collect::<Vec<_>>();
    let entry = passwd.lines().map(fields).find(|entry| {
        entry.first().is_some_and(|name| name == user) || entry.get(2).is_some_and(|uid| uid == user)
    });
    let number = |entry: &Option<Vec<String>>, index: usize| entry.as_ref()?.get(index)?.parse::<u32>().ok();
    let uid = match (user.parse(), number(&entry, 2)) {
        (Ok(uid), _) | (Err(_), Some(uid)) => uid,
        (Err(_), None) => {
            return Err(ImageError::Pull {
                message: format!("unable to find user {user}: no matching entries in passwd file"),
            });
        }
    };
    let name = entry.as_ref().and_then(|entry| entry.first().cloned()).unwrap_or_default();
    let groups: Vec<Vec<String>> = group.lines().map(fields).collect();
    let gid = match wanted_group.filter(|group| !group.is_empty()) {
        Some(wanted) => {
            let named = groups
                .iter()
                .find(|entry| entry.first().is_some_and(|name| name == wanted))
                .and_then(|entry| entry.get(2)?.parse().ok());
            let found = wanted.parse().ok().or(named);
            found.ok_or_else(|| ImageError::Pull {
                message: format!("unable to find group {wanted}: no matching entries in group file"),
            })?
        }
        None => number(&entry, 3).unwrap_or(0),
    };
    // The group of the user's own name is no additional one.
    let member = |entry: &&Vec<String>| {
        !name.is_empty()
            && entry.first().is_some_and(|group| *group != name)
            && entry.get(3).is_some_and(|members| members.split(',').any(|member| member == name))
    };
    let additional = groups.iter().filter(member).filter_map(|entry| entry.get(2)?.parse().ok());
    Ok(User { uid, gid, additional_gids: additional.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\napp:x:1001:\nmedia:x:44:app,other\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let cases = [
            ("", (0, 0, vec![])),
            ("app", (1000, 1001, vec![44])),
            ("1000", (1000, 1001, vec![44])),
            // Of the image's groups none is lost when one is named.
            ("app:media", (1000, 44, vec![44])),
            ("5:6", (5, 6, vec![])),
            ("77", (77, 0, vec![])),
        ];
        for (text, (uid, gid, additional)) in cases {
            let user = resolve(text, PASSWD, GROUP).unwrap();
            assert_eq!((user.uid, user.gid, user.additional_gids), (uid, gid, additional), "{text}");
        }
        assert!(
            resolve("nobody", PASSWD, GROUP).unwrap_err().to_string().contains("unable to find user nobody")
        );
    }
}

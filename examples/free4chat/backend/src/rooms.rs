//! Who is in which room. Pure state: no clock, no I/O.
//!
//! Invariant: a room exists exactly as long as it has members; a member is in one room.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::talking::Talking;

/// More voices than this in one room are noise.
pub const MAX_MEMBERS: usize = 32;

/// Longest name of a room or a member, in characters.
const MAX_NAME: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberId(pub u64);

/// Paths that are something else already.
const TAKEN: [&str; 4] = ["api", "assets", "healthz", "metrics"];

/// A room's name as it stands in the URL: letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RoomId(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoomError {
    #[error("`{0}` is not a room's name: use up to {MAX_NAME} letters, digits, `-` and `_`")]
    InvalidName(String),
    #[error("`{0}` cannot be a room's name: it is a page of its own")]
    Taken(String),
    #[error("room `{room}` is full: it has {MAX_MEMBERS} members")]
    Full { room: String },
}

impl RoomId {
    pub fn parse(name: &str) -> Result<RoomId, RoomError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) {
            return Err(RoomError::InvalidName(name.chars().take(MAX_NAME).collect()));
        }
        if TAKEN.contains(&name) {
            return Err(RoomError::Taken(name.into()));
        }
        Ok(RoomId(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What others may know about a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    pub id: MemberId,
    pub name: String,
    pub muted: bool,
    pub talking: bool,
}

#[derive(Debug)]
pub struct Member {
    id: MemberId,
    room: RoomId,
    name: String,
    pub muted: bool,
    pub talking: Talking,
}

impl Member {
    pub fn view(&self) -> MemberView {
        let (id, name) = (self.id, self.name.clone());
        MemberView { id, name, muted: self.muted, talking: self.talking.is_talking() }
    }

    pub fn room(&self) -> &RoomId {
        &self.room
    }
}

#[derive(Debug, Default)]
pub struct Rooms {
    rooms: BTreeMap<RoomId, BTreeSet<MemberId>>,
    members: BTreeMap<MemberId, Member>,
    joined: u64,
}

impl Rooms {
    pub fn join(&mut self, room: &RoomId, name: &str) -> Result<MemberId, RoomError> {
        let present = self.rooms.entry(room.clone()).or_default();
        if present.len() >= MAX_MEMBERS {
            return Err(RoomError::Full { room: room.0.clone() });
        }
        self.joined += 1;
        let id = MemberId(self.joined);
        present.insert(id);
        let name = tidy(name);
        let member = Member { id, room: room.clone(), name, muted: false, talking: Talking::default() };
        self.members.insert(id, member);
        Ok(id)
    }

    pub fn leave(&mut self, id: MemberId) -> Option<Member> {
        let member = self.members.remove(&id)?;
        let present = self.rooms.get_mut(&member.room)?;
        present.remove(&id);
        if present.is_empty() {
            self.rooms.remove(&member.room);
        }
        Some(member)
    }

    pub fn member_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(&id)
    }

    pub fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.values_mut()
    }

    /// Everyone in the room, in the order they came.
    pub fn present(&self, room: &RoomId) -> Vec<MemberView> {
        let ids = self.rooms.get(room).into_iter().flatten();
        ids.filter_map(|id| self.members.get(id)).map(Member::view).collect()
    }

    /// Whom `id` talks to and hears.
    pub fn others(&self, id: MemberId) -> BTreeSet<MemberId> {
        let room = self.members.get(&id).and_then(|member| self.rooms.get(&member.room));
        room.into_iter().flatten().copied().filter(|other| *other != id).collect()
    }

    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub fn member_count(&self) -> usize {
        self.members.len()
    }
}

/// A name to show: no control characters, not too long, never empty.
fn tidy(name: &str) -> String {
    let shown: String = name.trim().chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    if shown.is_empty() { "Guest".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomId {
        RoomId::parse(name).unwrap()
    }

    #[test]
    fn room_names_are_what_fits_in_a_url_path() {
        for good in ["lobby", "a", "Room-1_x", &"x".repeat(64)] {
            assert!(RoomId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "api", "metrics", "a b", "a/b", "ü", "..", &"x".repeat(65)] {
            assert!(RoomId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn members_hear_the_others_of_their_room_only() {
        let mut rooms = Rooms::default();
        let ada = rooms.join(&room("sea"), "Ada").unwrap();
        let bob = rooms.join(&room("sea"), "Bob").unwrap();
        let eve = rooms.join(&room("land"), "Eve").unwrap();
        assert_eq!(rooms.others(ada), BTreeSet::from([bob]));
        assert_eq!(rooms.others(eve), BTreeSet::new());
        assert_eq!((rooms.room_count(), rooms.member_count()), (2, 3));
    }

    #[test]
    fn a_room_ends_with_its_last_member() {
        let mut rooms = Rooms::default();
        let ada = rooms.join(&room("sea"), "Ada").unwrap();
        assert!(rooms.leave(ada).is_some());
        assert!(rooms.leave(ada).is_none(), "leaving twice is harmless");
        assert_eq!(rooms.room_count(), 0);
        assert_eq!(rooms.present(&room("sea")), []);
    }

    #[test]
    fn a_full_room_refuses_and_another_one_does_not() {
        let mut rooms = Rooms::default();
        for _ in 0..MAX_MEMBERS {
            rooms.join(&room("sea"), "x").unwrap();
        }
        assert_eq!(rooms.join(&room("sea"), "late"), Err(RoomError::Full { room: "sea".into() }));
        assert!(rooms.join(&room("land"), "late").is_ok());
    }

    #[test]
    fn names_are_tidied() {
        for (given, shown) in [(" Ada ", "Ada"), ("", "Guest"), ("\u{7}", "Guest"), ("a\nb", "ab")] {
            assert_eq!(tidy(given), shown);
        }
    }
}

//! What browser and server say to each other on the signalling WebSocket, as JSON with a `type`.
//!
//! The server always offers and the browser always answers, so two offers never cross.
//! A conversation: `join` → `welcome`, `offer` → `answer`, then whatever happens in the room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rooms::{MemberId, MemberView};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum FromBrowser {
    /// First message: who comes.
    Join { name: String },
    /// The answer to the last offer.
    Answer { sdp: String },
    /// The microphone was switched off or on.
    Mute { muted: bool },
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ToBrowser {
    /// You are in; these are in the room, you among them.
    Welcome {
        id: MemberId,
        members: Vec<MemberView>,
    },
    Joined {
        member: MemberView,
    },
    /// A member was muted or unmuted, began to talk or stopped.
    Changed {
        member: MemberView,
    },
    Left {
        id: MemberId,
    },
    Offer(Offer),
    /// Why the connection ends.
    Error {
        message: String,
    },
}

/// An SDP offer, and what its media lines are for.
#[derive(Clone, Debug, Serialize)]
pub struct Offer {
    pub sdp: String,
    /// The line (its `mid`) on which the server listens to this member.
    pub microphone: String,
    /// The lines on which the others are heard.
    pub voices: BTreeMap<String, MemberId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_shape_the_page_expects() {
        let join = r#"{"type":"join","name":"Ada"}"#;
        assert_eq!(
            serde_json::from_str::<FromBrowser>(join).unwrap(),
            FromBrowser::Join { name: "Ada".into() }
        );
        let left = serde_json::to_string(&ToBrowser::Left { id: MemberId(7) }).unwrap();
        assert_eq!(left, r#"{"type":"left","id":7}"#);
        let voices = BTreeMap::from([("abc".to_string(), MemberId(7))]);
        let offer = Offer { sdp: "v=0".into(), microphone: "mic".into(), voices };
        let offer = serde_json::to_string(&ToBrowser::Offer(offer)).unwrap();
        assert_eq!(offer, r#"{"type":"offer","sdp":"v=0","microphone":"mic","voices":{"abc":7}}"#);
    }

    #[test]
    fn unknown_messages_and_fields_are_refused() {
        for bad in [r#"{"type":"shout"}"#, r#"{"type":"mute","muted":true,"by":1}"#, "[]", ""] {
            assert!(serde_json::from_str::<FromBrowser>(bad).is_err(), "{bad}");
        }
    }
}

//! What members do: join, answer, mute, leave; and what the others of the room are told.

use std::time::Instant;

use tokio::sync::mpsc;

use super::{Task, peer::Peer};
use crate::{
    messages::ToBrowser,
    rooms::{MemberId, MemberView, RoomError, RoomId},
};

impl Task {
    pub(super) fn join(
        &mut self,
        room: &RoomId,
        name: &str,
        outbox: mpsc::Sender<ToBrowser>,
    ) -> Result<MemberId, RoomError> {
        let id = self.rooms.join(room, name)?;
        self.peers.insert(id, Peer::new(&self.endpoint, outbox, Instant::now()));
        self.drain(id);
        tracing::info!(room = room.as_str(), member = id.0, "joined");
        let members = self.rooms.present(room);
        let newcomer = members.iter().find(|member| member.id == id).cloned();
        self.tell(id, ToBrowser::Welcome { id, members });
        self.negotiate(id);
        if let Some(member) = newcomer {
            self.tell_others(id, ToBrowser::Joined { member });
        }
        self.negotiate_with_others(id);
        Ok(id)
    }

    /// Takes the media connection of a member down; its session ends as the outbox is dropped.
    pub(super) fn leave(&mut self, id: MemberId) {
        let others = self.rooms.others(id);
        let Some(member) = self.rooms.leave(id) else { return };
        self.peers.remove(&id);
        self.forget_sources(id);
        tracing::info!(room = member.room().as_str(), member = id.0, "left");
        for other in others {
            self.tell(other, ToBrowser::Left { id });
            self.negotiate(other);
        }
    }

    pub(super) fn answer(&mut self, id: MemberId, sdp: &str) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Err(error) = peer.accept(sdp) {
            tracing::info!(member = id.0, error = &error as &dyn std::error::Error, "answer refused");
            self.tell(id, ToBrowser::Error { message: error.to_string() });
            return self.leave(id);
        }
        self.drain(id);
        // Members may have come and gone meanwhile.
        self.negotiate(id);
    }

    pub(super) fn mute(&mut self, id: MemberId, muted: bool) {
        let Some(member) = self.rooms.member_mut(id) else { return };
        member.muted = muted;
        member.talking.silence();
        let view = member.view();
        self.changed(view);
    }

    /// Tells the whole room, the member itself too: the page shows what the server knows.
    pub(super) fn changed(&mut self, member: MemberView) {
        let id = member.id;
        let message = ToBrowser::Changed { member };
        self.tell(id, message.clone());
        self.tell_others(id, message);
    }

    fn tell_others(&mut self, id: MemberId, message: ToBrowser) {
        for other in self.rooms.others(id) {
            self.tell(other, message.clone());
        }
    }

    fn tell(&mut self, id: MemberId, message: ToBrowser) {
        let heard = self.peers.get(&id).is_none_or(|peer| peer.tell(message));
        if !heard {
            self.drop_later(id);
        }
    }

    fn negotiate_with_others(&mut self, id: MemberId) {
        for other in self.rooms.others(id) {
            self.negotiate(other);
        }
    }

    /// Offers what `id` should hear, unless it hears that already.
    fn negotiate(&mut self, id: MemberId) {
        let wanted = self.rooms.others(id);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let offer = peer.negotiate(&wanted);
        self.drain(id);
        if let Some(offer) = offer {
            self.tell(id, ToBrowser::Offer(offer));
        }
    }
}

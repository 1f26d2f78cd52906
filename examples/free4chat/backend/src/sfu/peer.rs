//! One member's WebRTC connection: a line for the microphone, and one for each voice the member hears.
//!
//! Invariant: after each change the connection is drained (`drain`) before the next one, as str0m asks.
//! Source:    https://docs.rs/str0m (run loop)

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use str0m::{
    Event, IceConnectionState, Input, Output, Rtc, RtcError,
    change::{SdpAnswer, SdpPendingOffer},
    media::{Direction, MediaData, MediaKind, Mid},
    net::Transmit,
    rtp::Extension,
};
use tokio::sync::mpsc;

use super::Endpoint;
use crate::{
    messages::{Offer, ToBrowser},
    rooms::MemberId,
};

/// A late packet is worth waiting for only so long; the browser's jitter buffer does the rest.
const REORDERING: Duration = Duration::from_millis(60);

/// What a connection has to say to the room.
#[derive(Debug)]
pub enum PeerEvent {
    Voice(Box<MediaData>),
    Gone,
}

#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the answer is not valid SDP")]
    Parse(#[source] str0m::error::SdpError),
    #[error("the answer does not fit the offer")]
    Apply(#[source] RtcError),
}

#[derive(Debug)]
pub struct Peer {
    rtc: Rtc,
    outbox: mpsc::Sender<ToBrowser>,
    microphone: Option<Mid>,
    voices: BTreeMap<MemberId, Mid>,
    /// An offer is on its way; the next one waits for its answer.
    pending: Option<SdpPendingOffer>,
    /// When the connection wants to be driven again.
    pub wake: Instant,
}

impl Peer {
    pub fn new(endpoint: &Endpoint, outbox: mpsc::Sender<ToBrowser>, now: Instant) -> Peer {
        let mut rtc = Rtc::builder()
            .set_crypto_provider(endpoint.crypto.clone())
            .set_dtls_cert(endpoint.certificate.clone())
            .set_ice_lite(true)
            .clear_codecs()
            .enable_opus(true, false)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(4, Extension::RtpMid)
            .set_reordering_timeout_audio(Some(REORDERING))
            .build(now);
        for candidate in &endpoint.candidates {
            rtc.add_local_candidate(candidate.clone());
        }
        Peer { rtc, outbox, microphone: None, voices: BTreeMap::new(), pending: None, wake: now }
    }

    /// False when the browser does not read its messages.
    pub fn tell(&self, message: ToBrowser) -> bool {
        self.outbox.try_send(message).is_ok()
    }

    /// An offer that makes the lines fit `wanted`; none when they fit already or an answer is due.
    pub fn negotiate(&mut self, wanted: &BTreeSet<MemberId>) -> Option<Offer> {
        if self.pending.is_some() {
            return None;
        }
        let (unneeded, missing) = plan(&self.voices, wanted);
        let mut change = self.rtc.sdp_api();
        for (member, line) in unneeded {
            change.stop_media(line);
            self.voices.remove(&member);
        }
        let microphone = *self
            .microphone
            .get_or_insert_with(|| change.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None));
        for member in missing {
            let stream = Some(format!("member-{}", member.0));
            let line = change.add_media(MediaKind::Audio, Direction::SendOnly, stream, None, None);
            self.voices.insert(member, line);
        }
        let (offer, pending) = change.apply()?;
        self.pending = Some(pending);
        let voices = self.voices.iter().map(|(member, line)| (line.to_string(), *member)).collect();
        Some(Offer { sdp: offer.to_sdp_string(), microphone: microphone.to_string(), voices })
    }

    /// An answer that nobody waits for is ignored.
    pub fn accept(&mut self, sdp: &str) -> Result<(), AnswerError> {
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(AnswerError::Parse)?;
        let Some(pending) = self.pending.take() else { return Ok(()) };
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(AnswerError::Apply)
    }

    pub fn accepts(&self, input: &Input) -> bool {
        self.rtc.accepts(input)
    }

    pub fn handle(&mut self, input: Input) -> Result<(), RtcError> {
        self.rtc.handle_input(input)
    }

    /// True when the packet is on its way. Not before the line is negotiated, which is no error.
    pub fn forward(&mut self, from: MemberId, voice: &MediaData) -> bool {
        let Some(writer) = self.voices.get(&from).and_then(|line| self.rtc.writer(*line)) else {
            return false;
        };
        let Some(format) = writer.match_params(voice.params) else { return false };
        let level = voice.ext_vals.audio_level.unwrap_or(i8::MIN + 1);
        let writer = writer.audio_level(level, voice.ext_vals.voice_activity.unwrap_or_default());
        let writer = writer.start_of_talkspurt(voice.audio_start_of_talk_spurt);
        writer.write(format, voice.network_time, voice.time, voice.data.clone()).is_ok()
    }

    /// Takes everything the connection has to send or to say, and notes when it wants to be driven again.
    pub fn drain(&mut self, mut send: impl FnMut(&Transmit), mut say: impl FnMut(PeerEvent)) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(wake)) => {
                    self.wake = wake;
                    return;
                }
                Ok(Output::Transmit(datagram)) => send(&datagram),
                Ok(Output::Event(Event::MediaData(voice))) => say(PeerEvent::Voice(Box::new(voice))),
                Ok(Output::Event(Event::IceConnectionStateChange(IceConnectionState::Disconnected))) => {
                    say(PeerEvent::Gone)
                }
                Ok(Output::Event(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "connection failed");
                    return say(PeerEvent::Gone);
                }
            }
        }
    }
}

/// Lines to stop, and members to add lines for.
fn plan<Line: Copy>(
    lines: &BTreeMap<MemberId, Line>,
    wanted: &BTreeSet<MemberId>,
) -> (Vec<(MemberId, Line)>, Vec<MemberId>) {
    let unneeded = lines.iter().filter(|(member, _)| !wanted.contains(member));
    let missing = wanted.iter().filter(|member| !lines.contains_key(member));
    (unneeded.map(|(member, line)| (*member, *line)).collect(), missing.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_members_of_the_room() {
        let lines = BTreeMap::from([(MemberId(1), "a"), (MemberId(2), "b")]);
        let wanted = BTreeSet::from([MemberId(2), MemberId(3)]);
        assert_eq!(plan(&lines, &wanted), (vec![(MemberId(1), "a")], vec![MemberId(3)]));
        assert_eq!(plan(&lines, &lines.keys().copied().collect()), (vec![], vec![]));
    }
}

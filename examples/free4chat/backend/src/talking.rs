//! Who is talking, from the audio level that each RTP packet carries.
//!
//! Invariant: a member goes quiet only after [`HOLD`] without a loud packet, so that the pauses between words
//! do not flicker.
//! Source:    RFC 6464 (audio level header extension)

use std::time::{Duration, Instant};

/// Louder than this is speech; a quiet room is near −60. Unit: dBov, 0 is the loudest.
const LOUD_DBOV: i8 = -45;

/// How long a member counts as talking after the last loud packet.
const HOLD: Duration = Duration::from_millis(600);

/// One member's state. Time is passed in.
#[derive(Debug, Default)]
pub struct Talking {
    until: Option<Instant>,
}

impl Talking {
    pub fn is_talking(&self) -> bool {
        self.until.is_some()
    }

    /// A packet came with this level. True when the member just began to talk.
    pub fn hear(&mut self, level_dbov: i8, now: Instant) -> bool {
        if level_dbov < LOUD_DBOV {
            return false;
        }
        self.until.replace(now + HOLD).is_none()
    }

    /// When [`Talking::pause`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// True when the member just went quiet.
    pub fn pause(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
        }
        over
    }

    /// Forgets what was heard. True when the member was talking.
    pub fn silence(&mut self) -> bool {
        self.until.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_loud_packet_starts_talking_and_silence_ends_it_after_the_hold() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut talking = Talking::default();
        assert!(!talking.hear(-70, at(0)), "a quiet packet changes nothing");
        assert!(talking.hear(-20, at(20)), "the first loud packet is a change");
        assert!(!talking.hear(-20, at(40)), "the second is not");
        assert!(!talking.pause(at(639)) && talking.is_talking());
        assert!(talking.pause(at(640)) && !talking.is_talking());
        assert!(!talking.pause(at(700)), "quiet is reported once");
    }
}

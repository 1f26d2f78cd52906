//! Wall-clock time as the API, the shims and the state machine use it: milliseconds since the Unix epoch.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub type Millis = i64;

pub fn now() -> Millis {
    Timestamp::now().as_millisecond()
}

/// The API keeps whole seconds.
pub fn to_time(at: Millis) -> Time {
    Time(Timestamp::from_second(at.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH))
}

pub fn from_time(time: &Time) -> Millis {
    time.0.as_millisecond()
}

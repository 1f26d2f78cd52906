//! Names for requests that come without one, as nginx makes them: 32 hexadecimal digits.
//!
//! They only have to differ, nobody must be unable to guess them: a small generator for each thread, seeded once.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

use http::HeaderValue;

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

pub fn make() -> HeaderValue {
    let mut digits = [0_u8; 32];
    for (half, value) in digits.chunks_exact_mut(16).zip([next(), next()]) {
        for (index, digit) in half.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(value >> (index * 4)) as usize & 0xf];
        }
    }
    HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("0"))
}

/// SplitMix64. Source: <https://prng.di.unimi.it/splitmix64.c>
fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_have_32_digits() {
        let (first, second) = (make(), make());
        assert_ne!(first, second);
        assert!(first.len() == 32 && first.as_bytes().iter().all(u8::is_ascii_hexdigit), "{first:?}");
    }
}

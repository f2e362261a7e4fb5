//! Keys that were thought up. Of 2³² random keys not one is refused here, as good as surely.

use super::xaes::KEY;

/// Fewest different bytes. 32 random bytes have 30 on average; fewer than 16 come once in 10⁹ or more keys.
const LEAST_DIFFERENT: usize = 16;

/// What gives the key away, if anything does.
pub(super) fn why(key: &[u8; KEY]) -> Option<&'static str> {
    let mut sorted = *key;
    sorted.sort_unstable();
    let different = sorted.chunk_by(|left, right| left == right).count();
    zeroize::Zeroize::zeroize(&mut sorted);
    let step = |at: usize| key[at + 1].wrapping_sub(key[at]);
    match different {
        1 => Some("all of its bytes are equal"),
        2..LEAST_DIFFERENT => Some("few of its bytes differ"),
        _ if (1..KEY - 1).all(|at| step(at) == step(0)) => Some("its bytes are a series"),
        _ if key[..KEY / 2] == key[KEY / 2..] => Some("its halves are equal"),
        _ if key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => Some("it is text"),
        _ => None,
    }
}

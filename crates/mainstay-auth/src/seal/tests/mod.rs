//! `vectors`: published test vectors; `sealing`: what opens and what does not; `keys`: what a ring is read from;
//! `legacy`: `aes-256-cbc`.

mod keys;
#[cfg(feature = "legacy-cbc")]
mod legacy;
mod sealing;
mod vectors;

use mainstay_core::secret::Secret;

use super::*;

const OLD: &str = "8f1d6c0a5b3e49277a90d4c6e2b1f8035c7e9a1640d2b8f3e5a7c90b1d3f6284";
const NEW: &str = "u1cHn6ZcvKm7x0TjG2rQdWf8sYpE4aLhBz9iNvXo3Ck=";

const PLACE: Place<'static> = Place::new("user-service", "users.phone", "user-1");

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn ring(text: &str) -> KeyRing {
    KeyRing::parse(None, Some(&secret(text))).unwrap().unwrap()
}

/// A sealer of one key, and one that has another before it.
fn old_and_rotated() -> (Sealer, Sealer) {
    (Sealer::new(&ring(&format!("old:{OLD}"))), Sealer::new(&ring(&format!("new:{NEW}, old:{OLD}"))))
}

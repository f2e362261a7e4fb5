//! The number that orders the holders of a key.

use std::fmt;

/// A number that grows with every grant of a key: the fencing token of Kleppmann ("How to do distributed
/// locking", 2016). A resource that remembers the highest one it has seen, and refuses lower ones, is safe
/// from a holder that woke up too late.
///
/// ```
/// use mainstay_core::lock::Fence;
///
/// let (earlier, later) = (Fence::from(7), Fence::from(8));
/// assert!(earlier < later);
/// assert_eq!(later.to_string(), "8");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fence(u64);

impl Fence {
    /// The number, to be stored beside what it protects. Below 2⁵³ until the year 2255.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl From<u64> for Fence {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

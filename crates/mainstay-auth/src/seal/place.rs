use super::envelope::Header;

/// Where a sealed value is kept. It opens there and nowhere else, so that nobody who can write to the store moves
/// one record's secret into another.
///
/// None of it is secret or kept with the value: whoever opens it says the same again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    namespace: &'a str,
    purpose: &'a str,
    record: &'a str,
}

impl<'a> Place<'a> {
    /// `namespace` is whose value it is, such as the service; `purpose` what it is, such as `users.phone`; `record`
    /// the key of the record, one that never changes.
    #[must_use]
    pub const fn new(namespace: &'a str, purpose: &'a str, record: &'a str) -> Self {
        Self { namespace, purpose, record }
    }

    /// The associated data: the header and the place, each part after its length, so that no two places agree.
    pub(super) fn bind(&self, header: &Header<'_>) -> Vec<u8> {
        let parts = [self.namespace, self.purpose, self.record];
        let length = parts.iter().map(|part| part.len() + size_of::<u64>()).sum::<usize>();
        let mut bound = Vec::with_capacity(header.len() + length);
        header.write(&mut bound);
        for part in parts {
            bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bound.extend_from_slice(part.as_bytes());
        }
        bound
    }
}

use std::collections::VecDeque;

/// The places of the last failures, to see whether they are in a row.
#[derive(Debug, Default)]
pub(super) struct Run(VecDeque<u64>);

impl Run {
    /// Adds a failure; whether `wanted` failures took places in a row.
    pub(super) fn note(&mut self, place: u64, wanted: u32) -> bool {
        self.0.push_back(place);
        while self.0.len() > wanted as usize {
            self.0.pop_front();
        }
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return false };
        self.0.len() == wanted as usize && last - first == u64::from(wanted) - 1
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

//! What a database cannot hold is reported once, by name.

use std::collections::HashSet;

/// Reports already made by this sink.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    told: HashSet<String>,
}

impl Notices {
    /// Logs `text` as a warning, once.
    pub(crate) fn report(&mut self, text: String) {
        if self.told.insert(text.clone()) {
            tracing::warn!("{text}");
        }
    }

    /// What was reported, in no order.
    #[cfg(test)]
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.iter().cloned().collect()
    }
}

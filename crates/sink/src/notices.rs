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
}

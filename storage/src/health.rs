//! Whether the store still takes writes.

use std::sync::{Arc, OnceLock};

use crate::Error;

/// The first failure of a durable write, once there was one. Nothing is retried: after a failed sync nobody knows what
/// is on the disk, only a restart finds out.
#[derive(Debug, Default)]
pub(crate) struct Health {
    reason: OnceLock<Arc<str>>,
}

impl Health {
    /// Passes while all is well.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.reason.get() {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned { reason: Arc::clone(reason) }),
        }
    }

    /// Stops all further writes. The first reason stays.
    pub(crate) fn poison(&self, error: &Error) -> Error {
        let mut first = false;
        let reason = self.reason.get_or_init(|| {
            first = true;
            Arc::from(error.to_string())
        });
        if first {
            tracing::error!(error = %error, "a durable write failed: the store takes no more writes until restart");
        }
        Error::Poisoned { reason: Arc::clone(reason) }
    }

    /// The first failure.
    pub(crate) fn reason(&self) -> Option<String> {
        self.reason.get().map(|reason| reason.to_string())
    }
}

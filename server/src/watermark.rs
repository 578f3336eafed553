//! The store's watermark as something async tasks can wait for.

use binlog_storage::{Store, WatermarkGuard};
use binlog_types::CommitTs;
use tokio::sync::watch;

/// Publishes the watermark until it is dropped.
#[derive(Debug)]
pub(crate) struct WatermarkHub {
    sender: watch::Sender<CommitTs>,
    _guard: WatermarkGuard,
}

impl WatermarkHub {
    /// Follows a store.
    pub(crate) fn new(store: &Store) -> Self {
        let sender = watch::Sender::new(store.watermark());
        let publish = sender.clone();
        let guard = store.on_watermark(Box::new(move |watermark| {
            publish.send_if_modified(|known| {
                let risen = watermark > *known;
                if risen {
                    *known = watermark;
                }
                risen
            });
        }));
        // It may have risen between the first read and the registration.
        let now = store.watermark();
        sender.send_if_modified(|known| std::mem::replace(known, now.max(*known)) < now);
        WatermarkHub { sender, _guard: guard }
    }

    /// A handle for one reader.
    pub(crate) fn subscribe(&self) -> watch::Receiver<CommitTs> {
        self.sender.subscribe()
    }
}

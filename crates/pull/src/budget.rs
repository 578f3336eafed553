//! The byte budget: what is in flight holds permits until it is done with.
//!
//! Every pump has a share of its own. One common pot would dead-lock: a fast pump could fill it with records that wait for a slow pump,
//! which then gets no byte to send what they wait for.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One pump's part of the budget.
#[derive(Debug)]
pub(crate) struct Share {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: usize,
    used: usize,
}

/// Bytes of a [`Share`] in use; given back on drop.
#[derive(Debug, Default)]
pub(crate) struct Permit {
    share: Option<Arc<Share>>,
    bytes: usize,
    /// What is put aside of it, in bytes of the disk.
    aside: Option<Box<Permit>>,
}

impl Share {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Share { state: Mutex::new(State { limit, used: 0 }), freed: Notify::new() })
    }

    /// Takes effect for what is admitted from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.state.lock().limit = limit;
        self.freed.notify_one();
    }

    fn give_back(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(bytes);
        drop(state);
        self.freed.notify_one();
    }

    pub(crate) fn limit(&self) -> usize {
        self.state.lock().limit
    }

    /// Adds `bytes` to `permit` if they fit, or if the permit's owner is alone: something larger than the share is admitted by itself.
    pub(crate) fn try_admit(self: &Arc<Self>, permit: &mut Permit, bytes: usize) -> bool {
        let mut state = self.state.lock();
        let alone = state.used == permit.bytes;
        if !alone && state.used.saturating_add(bytes) > state.limit {
            return false;
        }
        state.used = state.used.saturating_add(bytes);
        permit.bytes = permit.bytes.saturating_add(bytes);
        permit.share.get_or_insert_with(|| Arc::clone(self));
        true
    }

    /// Waits until `bytes` are admitted. Only one task may wait on a share.
    pub(crate) async fn admit(self: &Arc<Self>, permit: &mut Permit, bytes: usize) {
        while !self.try_admit(permit, bytes) {
            self.freed.notified().await;
        }
    }
}

impl Permit {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it is for is put aside, and takes this there.
    pub(crate) fn put_aside(&mut self, aside: Permit) {
        self.aside = Some(Box::new(aside));
    }

    /// Takes `bytes` in all, whether they fit or not: they are there already.
    pub(crate) fn raise(&mut self, bytes: usize) {
        if let Some(share) = &self.share {
            let more = bytes.saturating_sub(self.bytes);
            let mut state = share.state.lock();
            state.used = state.used.saturating_add(more);
            self.bytes += more;
        }
    }

    /// Gives back all but `bytes`.
    pub(crate) fn keep(&mut self, bytes: usize) {
        if let Some(share) = &self.share {
            let given = self.bytes.saturating_sub(bytes);
            self.bytes -= given;
            share.give_back(given);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_large_goes_alone() {
        let share = Share::new(100);
        let (mut small, mut large) = (Permit::default(), Permit::default());
        assert!(share.try_admit(&mut small, 60));
        assert!(share.try_admit(&mut large, 40));
        assert!(!share.try_admit(&mut large, 400), "somebody else is in flight");
        drop(small);
        share.admit(&mut large, 400).await;
        assert_eq!(large.bytes(), 440);
        let mut next = Permit::default();
        assert!(!share.try_admit(&mut next, 1));
        drop(large);
        assert!(share.try_admit(&mut next, 1));
    }

    #[test]
    fn what_is_put_aside_is_given_back_with_the_rest() {
        let (memory, disk) = (Share::new(100), Share::new(1000));
        let (mut permit, mut aside) = (Permit::default(), Permit::default());
        assert!(memory.try_admit(&mut permit, 90) && disk.try_admit(&mut aside, 10));
        aside.raise(1500);
        permit.keep(5);
        permit.put_aside(aside);
        let mut next = Permit::default();
        assert!(memory.try_admit(&mut next, 95) && !disk.try_admit(&mut Permit::default(), 1));
        drop(permit);
        assert!(disk.try_admit(&mut Permit::default(), 1000));
    }

    #[tokio::test]
    async fn a_waiter_wakes_when_bytes_come_back() {
        let share = Share::new(10);
        let mut first = Permit::default();
        assert!(share.try_admit(&mut first, 10));
        let waiting = tokio::spawn({
            let share = Arc::clone(&share);
            async move {
                let mut second = Permit::default();
                share.admit(&mut second, 10).await;
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
    }
}

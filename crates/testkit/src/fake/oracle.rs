//! The fake PD's timestamps.

use binlog_types::{ClockHandle, SystemClock, Ts};
use parking_lot::Mutex;

/// Rises from the machine's clock, or stands at captured times.
#[derive(Debug)]
pub(super) struct Oracle {
    clock: ClockHandle,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Ts,
    /// While set, the clock does not count, and nothing above it is handed out.
    ceiling: Option<Ts>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Oracle { clock: SystemClock::handle(), state: Mutex::default() }
    }

    /// The last of `count` timestamps.
    pub(super) fn take(&self, count: u32) -> Ts {
        let mut state = self.state.lock();
        let next = Ts::new(state.last.raw() + u64::from(count.max(1)));
        let next = match state.ceiling {
            Some(ceiling) => next.min(ceiling),
            None => next.max(Ts::compose(self.clock.unix_millis(), u64::from(count))),
        };
        state.last = state.last.max(next);
        state.last
    }

    pub(super) fn set_floor(&self, floor: Ts) {
        let mut state = self.state.lock();
        state.last = state.last.max(floor);
    }

    pub(super) fn set_ceiling(&self, ceiling: Option<Ts>) {
        self.state.lock().ceiling = ceiling;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_can_stand_still() {
        let oracle = Oracle::new();
        oracle.set_ceiling(Some(Ts::new(105)));
        oracle.set_floor(Ts::new(100));
        assert_eq!([1, 1, 2, 9, 1].map(|n| oracle.take(n).raw()), [101, 102, 104, 105, 105]);
        oracle.set_ceiling(None);
        let now = oracle.take(1);
        assert!(now.physical() > 1_700_000_000_000 && oracle.take(1) > now);
    }
}

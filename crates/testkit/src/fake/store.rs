//! A versioned map: what the fake TiKV reads from.

use std::collections::BTreeMap;
use std::ops::Bound;

use binlog_types::Ts;
use bytes::Bytes;

/// Keys with all their versions; `None` is a deletion.
#[derive(Debug, Default)]
pub(super) struct VersionedMap {
    keys: BTreeMap<Bytes, BTreeMap<Ts, Option<Bytes>>>,
    /// Later versions are not there yet.
    visible_through: Option<Ts>,
}

impl VersionedMap {
    pub(super) fn put(&mut self, key: Bytes, at: Ts, value: Option<Bytes>) {
        self.keys.entry(key).or_default().insert(at, value);
    }

    /// Shows versions up to `ts` and no later ones. It only moves on.
    pub(super) fn show_through(&mut self, ts: Ts) {
        self.visible_through = Some(self.visible_through.map_or(ts, |now| now.max(ts)));
    }

    pub(super) fn hide_all(&mut self) {
        self.visible_through = Some(Ts::ZERO);
    }

    fn bound(&self, at: Ts) -> Ts {
        self.visible_through.map_or(at, |visible| visible.min(at))
    }

    pub(super) fn get(&self, key: &[u8], at: Ts) -> Option<Bytes> {
        latest(self.keys.get(key)?, self.bound(at))
    }

    /// Up to `limit` pairs of `[start, end)`; an empty `end` is no end.
    pub(super) fn scan(&self, start: &[u8], end: &[u8], limit: usize, at: Ts) -> Vec<(Bytes, Bytes)> {
        if !end.is_empty() && start >= end {
            return Vec::new();
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let bound = self.bound(at);
        self.keys
            .range::<[u8], _>((Bound::Included(start), upper))
            .filter_map(|(key, versions)| Some((key.clone(), latest(versions, bound)?)))
            .take(limit)
            .collect()
    }

    /// Keys that cut the map into `parts` of about the same size.
    pub(super) fn cuts(&self, parts: usize) -> Vec<Vec<u8>> {
        let step = self.keys.len().div_ceil(parts.max(1)).max(1);
        self.keys.keys().step_by(step).skip(1).map(|key| key.to_vec()).collect()
    }
}

fn latest(versions: &BTreeMap<Ts, Option<Bytes>>, at: Ts) -> Option<Bytes> {
    versions.range(..=at).next_back()?.1.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_see_their_version_and_not_the_future() {
        let mut map = VersionedMap::default();
        let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        map.put("a".into(), Ts::new(5), value("1"));
        map.put("a".into(), Ts::new(9), None);
        map.put("b".into(), Ts::new(7), value("2"));
        assert_eq!(map.get(b"a", Ts::new(4)), None);
        assert_eq!(map.get(b"a", Ts::new(8)), value("1"));
        assert_eq!(map.get(b"a", Ts::new(9)), None);
        assert_eq!(map.scan(b"", b"", 9, Ts::new(7)).len(), 2);
        map.hide_all();
        assert!(map.scan(b"", b"", 9, Ts::MAX).is_empty());
        map.show_through(Ts::new(7));
        map.show_through(Ts::new(6));
        assert_eq!(map.scan(b"", b"", 9, Ts::MAX).len(), 2);
        assert_eq!(map.scan(b"a", b"b", 9, Ts::MAX).len(), 1);
    }
}

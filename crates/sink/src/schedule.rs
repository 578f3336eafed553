//! Which jobs may run now. No I/O.
//!
//! A job claims what it touches: rows of a table by their conflict keys, whole tables, whole databases, or everything. It waits
//! for every unfinished job before it whose claim meets its own, and for nothing else: so there is no barrier between batches, and
//! a DDL holds up only its own tables.
//!
//! **Invariant:** of two jobs whose claims meet, the earlier one has ended before the later one is handed out.
//! **Invariant:** a ticket is done only when all jobs of it and of all tickets before it have ended.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Number of a job, in the order of the stream.
pub(crate) type JobId = u64;

/// A table by name. Names are compared without regard to case: TiDB's are.
pub(crate) type TableName = (Arc<str>, Arc<str>);

/// What a job touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Rows of a table that have one of these conflict keys.
    Rows(TableName, Vec<u64>),
    /// The lane of tables without a key, with rows of these.
    Lane(Vec<TableName>),
    /// Whole tables.
    Tables(Vec<TableName>),
    /// Whole databases, and these tables beside.
    Schemas(Vec<Arc<str>>, Vec<TableName>),
    /// All there is.
    Everything,
}

#[derive(Debug, Default)]
struct TableState {
    /// The last job that claimed the whole table.
    fence: Option<JobId>,
    open: BTreeSet<JobId>,
    /// The last job with the key.
    keys: HashMap<u64, JobId>,
}

#[derive(Debug, Default)]
struct SchemaState {
    fence: Option<JobId>,
    tables: Vec<usize>,
}

#[derive(Debug)]
struct Open {
    ticket: u64,
    waits_for: usize,
    dependents: Vec<JobId>,
    tables: Vec<usize>,
    keys: Vec<u64>,
}

/// Jobs `J` and what they wait for.
#[derive(Debug)]
pub(crate) struct Scheduler<J> {
    next: JobId,
    open: BTreeMap<JobId, Open>,
    waiting: HashMap<JobId, J>,
    ready: BTreeMap<JobId, J>,
    names: HashMap<TableName, usize>,
    tables: Vec<TableState>,
    schemas: HashMap<Arc<str>, SchemaState>,
    lane: Option<JobId>,
    fence: Option<JobId>,
    /// Unfinished jobs of each ticket, in order; the last one may still grow.
    tickets: VecDeque<(u64, usize)>,
    ticket: u64,
    done: u64,
}

impl<J> Default for Scheduler<J> {
    fn default() -> Self {
        Scheduler {
            next: 1,
            open: BTreeMap::new(),
            waiting: HashMap::new(),
            ready: BTreeMap::new(),
            names: HashMap::new(),
            tables: Vec::new(),
            schemas: HashMap::new(),
            lane: None,
            fence: None,
            tickets: VecDeque::new(),
            ticket: 0,
            done: 0,
        }
    }
}

fn lower(name: &Arc<str>) -> Arc<str> {
    if name.chars().any(char::is_uppercase) { Arc::from(name.to_lowercase()) } else { Arc::clone(name) }
}

impl<J> Scheduler<J> {
    /// One whose first ticket is the one behind `ticket`.
    pub(crate) fn starting_behind(ticket: u64) -> Self {
        Scheduler { ticket, done: ticket, ..Scheduler::default() }
    }

    /// Adds jobs that are acknowledged together, in the order of the stream.
    pub(crate) fn add(&mut self, jobs: Vec<(J, Claim)>) -> u64 {
        self.ticket += 1;
        self.tickets.push_back((self.ticket, jobs.len()));
        for (job, claim) in jobs {
            self.add_job(job, claim);
        }
        self.settle();
        self.ticket
    }

    /// The oldest job that may run.
    pub(crate) fn take(&mut self) -> Option<(JobId, J)> {
        self.ready.pop_first()
    }

    /// A job has ended.
    pub(crate) fn finish(&mut self, id: JobId) {
        let Some(open) = self.open.remove(&id) else { return };
        for table in open.tables {
            let Some(state) = self.tables.get_mut(table) else { continue };
            state.open.remove(&id);
            for key in &open.keys {
                if state.keys.get(key) == Some(&id) {
                    state.keys.remove(key);
                }
            }
        }
        for dependent in open.dependents {
            let Some(next) = self.open.get_mut(&dependent) else { continue };
            next.waits_for -= 1;
            if next.waits_for == 0
                && let Some(job) = self.waiting.remove(&dependent)
            {
                self.ready.insert(dependent, job);
            }
        }
        if let Some((_, left)) = self.tickets.iter_mut().find(|(ticket, _)| *ticket == open.ticket) {
            *left -= 1;
        }
        self.settle();
    }

    /// The last ticket of which, and before which, everything has ended.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Tickets that are not done.
    pub(crate) fn pending(&self) -> usize {
        self.tickets.len()
    }

    /// Jobs that have not ended.
    pub(crate) fn unfinished(&self) -> usize {
        self.open.len()
    }

    fn settle(&mut self) {
        while let Some((ticket, 0)) = self.tickets.front() {
            self.done = *ticket;
            self.tickets.pop_front();
        }
    }

    fn slot(&mut self, name: &TableName) -> usize {
        let name = (lower(&name.0), lower(&name.1));
        if let Some(slot) = self.names.get(&name) {
            return *slot;
        }
        let slot = self.tables.len();
        self.tables.push(TableState::default());
        self.schemas.entry(Arc::clone(&name.0)).or_default().tables.push(slot);
        self.names.insert(name, slot);
        slot
    }

    fn table_fences(&self, name: &TableName, slot: usize, deps: &mut HashSet<JobId>) {
        deps.extend(self.tables.get(slot).and_then(|t| t.fence));
        deps.extend(self.schemas.get(&lower(&name.0)).and_then(|s| s.fence));
    }

    fn claim_table(&mut self, id: JobId, name: &TableName, deps: &mut HashSet<JobId>) -> usize {
        let slot = self.slot(name);
        self.table_fences(name, slot, deps);
        if let Some(state) = self.tables.get_mut(slot) {
            deps.extend(state.open.iter());
            state.keys.clear();
            state.fence = Some(id);
        }
        slot
    }

    fn add_job(&mut self, job: J, claim: Claim) {
        let id = self.next;
        self.next += 1;
        let mut deps: HashSet<JobId> = self.fence.into_iter().collect();
        let (mut tables, mut own_keys) = (Vec::new(), Vec::new());
        match claim {
            Claim::Rows(name, keys) => {
                let slot = self.slot(&name);
                self.table_fences(&name, slot, &mut deps);
                if let Some(state) = self.tables.get_mut(slot) {
                    for key in &keys {
                        deps.extend(state.keys.insert(*key, id));
                    }
                }
                tables.push(slot);
                own_keys = keys;
            }
            Claim::Lane(names) => {
                deps.extend(self.lane.replace(id));
                for name in names {
                    let slot = self.slot(&name);
                    self.table_fences(&name, slot, &mut deps);
                    tables.push(slot);
                }
            }
            Claim::Tables(names) => {
                for name in names {
                    tables.push(self.claim_table(id, &name, &mut deps));
                }
            }
            Claim::Schemas(schemas, names) => {
                for name in names {
                    tables.push(self.claim_table(id, &name, &mut deps));
                }
                for schema in schemas {
                    let state = self.schemas.entry(lower(&schema)).or_default();
                    deps.extend(state.fence.replace(id));
                    for slot in &state.tables {
                        if let Some(table) = self.tables.get(*slot) {
                            deps.extend(table.open.iter());
                        }
                    }
                }
            }
            Claim::Everything => {
                deps.extend(self.open.keys());
                self.fence = Some(id);
            }
        }
        deps.remove(&id);
        tables.sort_unstable();
        tables.dedup();
        for slot in &tables {
            if let Some(state) = self.tables.get_mut(*slot) {
                state.open.insert(id);
            }
        }
        let mut waits_for = 0;
        for dep in deps {
            if let Some(open) = self.open.get_mut(&dep) {
                open.dependents.push(id);
                waits_for += 1;
            }
        }
        let ticket = self.ticket;
        self.open.insert(id, Open { ticket, waits_for, dependents: Vec::new(), tables, keys: own_keys });
        if waits_for == 0 {
            self.ready.insert(id, job);
        } else {
            self.waiting.insert(id, job);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(schema: u8, table: u8) -> TableName {
        (Arc::from(format!("d{schema}")), Arc::from(format!("t{table}")))
    }

    fn claims() -> impl Strategy<Value = Claim> {
        let name = (0..2u8, 0..3u8).prop_map(|(s, t)| table(s, t));
        let names = proptest::collection::vec(name.clone(), 1..3);
        prop_oneof![
            20 => (name, proptest::collection::vec(0..6u64, 1..4)).prop_map(|(n, k)| Claim::Rows(n, k)),
            4 => names.clone().prop_map(Claim::Lane),
            3 => names.clone().prop_map(Claim::Tables),
            2 => (0..2u8, names).prop_map(|(s, t)| Claim::Schemas(vec![Arc::from(format!("d{s}"))], t)),
            1 => Just(Claim::Everything),
        ]
    }

    fn tables_of(claim: &Claim) -> &[TableName] {
        match claim {
            Claim::Rows(name, _) => std::slice::from_ref(name),
            Claim::Lane(names) | Claim::Tables(names) | Claim::Schemas(_, names) => names,
            Claim::Everything => &[],
        }
    }

    /// The definition that the scheduler must keep to, in the plainest words.
    fn meet(a: &Claim, b: &Claim) -> bool {
        let share_table = tables_of(a).iter().any(|t| tables_of(b).contains(t));
        match (a, b) {
            (Claim::Everything, _) | (_, Claim::Everything) => true,
            (Claim::Schemas(s, _), Claim::Schemas(r, _)) if s.iter().any(|x| r.contains(x)) => true,
            (Claim::Schemas(s, _), other) | (other, Claim::Schemas(s, _))
                if tables_of(other).iter().any(|(schema, _)| s.contains(schema)) =>
            {
                true
            }
            (Claim::Rows(t, k), Claim::Rows(u, l)) => t == u && k.iter().any(|x| l.contains(x)),
            (Claim::Lane(_), Claim::Lane(_)) => true,
            (Claim::Rows(..), Claim::Lane(_)) | (Claim::Lane(_), Claim::Rows(..)) => false,
            _ => share_table,
        }
    }

    proptest! {
        #[test]
        fn conflicting_jobs_keep_their_order_and_all_end(
            batches in proptest::collection::vec(proptest::collection::vec(claims(), 0..6), 1..12),
            picks in proptest::collection::vec(any::<u16>(), 300),
        ) {
            let mut scheduler = Scheduler::default();
            let mut all: Vec<(Claim, u64)> = Vec::new();
            let mut running: Vec<JobId> = Vec::new();
            let mut ended: HashSet<JobId> = HashSet::new();
            let mut batches = batches.into_iter();
            let mut picks = picks.into_iter().cycle();
            let mut last = 0;
            loop {
                let pick = picks.next().unwrap_or(0);
                let more = pick % 3 == 0;
                if more && let Some(batch) = batches.next() {
                    let jobs: Vec<_> = batch.iter().map(|claim| ((), claim.clone())).collect();
                    last = scheduler.add(jobs);
                    all.extend(batch.into_iter().map(|claim| (claim, last)));
                }
                if pick % 2 == 0 && let Some((id, ())) = scheduler.take() {
                    let at = id as usize - 1;
                    for (earlier, (claim, _)) in (1..).zip(&all[..at]) {
                        prop_assert!(ended.contains(&earlier) || !meet(claim, &all[at].0), "{id} ran before {earlier}");
                    }
                    running.push(id);
                } else if !running.is_empty() {
                    let id = running.swap_remove(usize::from(pick) % running.len());
                    scheduler.finish(id);
                    ended.insert(id);
                } else if batches.len() == 0 && scheduler.unfinished() == 0 {
                    break;
                } else if batches.len() == 0 && scheduler.ready.is_empty() {
                    prop_assert!(false, "nothing runs and nothing is ready");
                }
                for (id, (_, ticket)) in (1..).zip(&all) {
                    prop_assert!(ended.contains(&id) || scheduler.done() < *ticket);
                }
            }
            prop_assert_eq!(scheduler.done(), last);
            prop_assert!(scheduler.tables.iter().all(|t| t.open.is_empty() && t.keys.is_empty()));
        }
    }

    #[test]
    fn a_ddl_waits_only_for_its_own_table() {
        let mut scheduler = Scheduler::default();
        let rows = |t, k| Claim::Rows(table(0, t), vec![k]);
        scheduler.add(vec![
            ("rows of t0", rows(0, 1)),
            ("ddl of t0", Claim::Tables(vec![table(0, 0)])),
            ("later rows of t0", rows(0, 2)),
            ("rows of t1", rows(1, 1)),
        ]);
        let first = scheduler.take().unwrap();
        assert_eq!(first.1, "rows of t0");
        assert_eq!(scheduler.take().unwrap().1, "rows of t1");
        assert!(scheduler.take().is_none());
        scheduler.finish(first.0);
        let ddl = scheduler.take().unwrap();
        assert_eq!(ddl.1, "ddl of t0");
        assert!(scheduler.take().is_none());
        scheduler.finish(ddl.0);
        assert_eq!(scheduler.take().unwrap().1, "later rows of t0");
    }
}

//! Which events take part.

use std::fmt;

use binlog_catalog::{Event, Transaction};

/// What of each event takes part; None: nothing.
pub struct Selector {
    pub(crate) select: Box<dyn FnMut(Event) -> Option<Event> + Send>,
    pub(crate) veto: Option<Veto>,
    pub(crate) tables: Option<Tables>,
}

/// Whether rows of a table, by database and name, are decoded at all.
pub(crate) type Tables = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Whether rows keep their whole transaction out.
pub(crate) type Veto = Box<dyn FnMut(&Transaction) -> bool + Send>;

impl Selector {
    /// From a function, which is given the events in order.
    pub fn new(select: impl FnMut(Event) -> Option<Event> + Send + 'static) -> Self {
        Selector { select: Box::new(select), veto: None, tables: None }
    }

    /// The same, where some rows decide about their whole transaction: one that comes in parts is looked through before its first part
    /// is handed out.
    #[must_use]
    pub fn with_veto(mut self, veto: impl FnMut(&Transaction) -> bool + Send + 'static) -> Self {
        self.veto = Some(Box::new(veto));
        self
    }

    /// The same, given only rows of tables for which `tables` says yes, by database and name; those of others are not even decoded.
    #[must_use]
    pub fn with_tables(mut self, tables: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        self.tables = Some(Box::new(tables));
        self
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selector(…)")
    }
}

//! K-way merge by commit_ts, sans I/O.

//! A drainer between real pumps and a SQLite file, with nothing else installed.

mod program;
mod replicate;
mod site;

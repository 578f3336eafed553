#![no_main]
//! See the target of the same name.

libfuzzer_sys::fuzz_target!(|data: &[u8]| binlog_fuzz::archive_targets::record(data));

//! `generate_meta`: a savepoint file for a drainer to start from.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;
use binlog_types::{ClockHandle, Ts};
use jiff::tz::TimeZone;

use super::Config;

/// Writes `<data-dir>/savepoint` for the position `ts`.
pub(super) fn generate(config: &Config, ts: Ts, clock: &ClockHandle) -> anyhow::Result<()> {
    let dir = Path::new(&config.data_dir);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("create {}", dir.display()))?;
    let mut text = format!("commitTS = {ts}\n");
    if !config.time_zone.is_empty() {
        match zone(&config.time_zone) {
            Ok(zone) => text.push_str(&times(ts, &zone, clock)),
            Err(error) => tracing::warn!(%error, "fail to load location"),
        }
    }
    let path = dir.join("savepoint");
    let mut file =
        tempfile::NamedTempFile::new_in(dir).with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    // A drainer may run as somebody else.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(&path).with_context(|| format!("write {}", path.display()))?;
    fs::File::open(dir)?.sync_all()?;
    tracing::info!(meta = format!("commitTS: {ts}"), "save meta");
    Ok(())
}

fn zone(name: &str) -> Result<TimeZone, jiff::Error> {
    if name == "Local" { Ok(TimeZone::system()) } else { TimeZone::get(name) }
}

/// The moment in UTC and in `zone`, as comments: a drainer reads the file as TOML.
fn times(ts: Ts, zone: &TimeZone, clock: &ClockHandle) -> String {
    let millis = i64::try_from(ts.physical()).unwrap_or_else(|_| clock.unix_millis() as i64);
    let instant = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    let show =
        |zone: &TimeZone| instant.to_zoned(zone.clone()).strftime("# %Y-%m-%d %H:%M:%S %z %Z\n").to_string();
    format!("{}{}", show(&TimeZone::UTC), show(zone))
}

#[cfg(test)]
mod tests {
    use binlog_types::SystemClock;

    use super::*;

    #[test]
    fn a_savepoint_is_toml_with_the_times_as_comments() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: dir.path().join("deep/er").display().to_string(),
            time_zone: "Asia/Shanghai".to_owned(),
            ..Config::default()
        };
        generate(&config, Ts::new(408_012_454_863_044_609), &SystemClock::handle()).unwrap();
        let text = fs::read_to_string(dir.path().join("deep/er/savepoint")).unwrap();
        assert_eq!(
            text,
            "commitTS = 408012454863044609\n# 2019-04-28 09:33:15 +0000 UTC\n# 2019-04-28 17:33:15 +0800 CST\n"
        );
    }
}

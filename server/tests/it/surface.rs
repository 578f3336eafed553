//! What dashboards look for, against what an original pump showed.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::TestPump;
use crate::http::request;

/// Names of Go's runtime that have no meaning here.
fn is_only_gos(family: &str) -> bool {
    family == "go_gc_duration_seconds"
        || family.starts_with("go_memstats_") && {
            let known = ["alloc_bytes", "heap_alloc_bytes", "heap_inuse_bytes", "heap_idle_bytes"];
            let known = known.iter().chain(&["heap_released_bytes", "heap_sys_bytes", "sys_bytes"]);
            !known.map(|name| format!("go_memstats_{name}")).any(|name| name == family)
        }
}

/// Every sample without its value; those of the original's children that exist only after use are made here first.
fn samples(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let name = |line: &str| line.rsplit_once(' ').map_or(line, |(name, _)| name).to_owned();
    // Labels in one order.
    lines.map(name).map(|name| sorted_labels(&name)).collect()
}

fn sorted_labels(sample: &str) -> String {
    let Some((name, labels)) = sample.split_once('{') else { return sample.to_owned() };
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_original_is_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/surface/pump-metrics.txt");
    let original = std::fs::read_to_string(path).unwrap();
    let mut pump = TestPump::start().await;
    let (through, _) = pump.client.transaction(1, 10).await;
    pump.client.pull(0, through).await;
    let missing = async |pump: &TestPump| {
        let ours = request(&pump.addr, "GET", "/metrics").await;
        let ours = samples(ours.split_once("\r\n\r\n").unwrap().1);
        let wanted = samples(&original).into_iter().filter(|sample| {
            let family = sample.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| family.strip_suffix(end))
                .unwrap_or(family);
            !is_only_gos(family) && family != "go_info"
        });
        wanted.filter(|sample| !ours.contains(sample)).collect::<Vec<_>>()
    };
    // The pull counts when its end has been noticed, the disk when it was looked at.
    for _ in 0..600 {
        if missing(&pump).await.is_empty() {
            pump.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("missing: {:#?}", missing(&pump).await);
}

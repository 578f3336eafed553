//! Two programs' metrics held against each other.

use std::collections::BTreeSet;

/// What of an original's exposition `ours` lacks: its families with their types, and its samples with their labels (the bounds of histograms are
/// among them), whatever their values. The version that `go_info` tells may differ.
pub fn missing_metrics(original: &str, ours: &str) -> Vec<String> {
    let ours = shape(ours);
    shape(original).into_iter().filter(|line| !ours.contains(line)).collect()
}

fn shape(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP"));
    lines
        .map(|line| match line.rsplit_once(' ') {
            _ if line.starts_with('#') => line.to_owned(),
            Some((sample, _)) if sample.starts_with("go_info{version=") => "go_info{version}".to_owned(),
            Some((sample, _)) => sorted_labels(sample),
            None => line.to_owned(),
        })
        .collect()
}

fn sorted_labels(sample: &str) -> String {
    let Some((name, labels)) = sample.split_once('{') else { return sample.to_owned() };
    let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

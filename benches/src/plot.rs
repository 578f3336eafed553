//! Plots as SVG: the percentiles of all benchmarks in one, and each one's rate and p99 over time.

use std::fs;
use std::path::Path;

use plotters::prelude::*;

use crate::report::Report;

const SIZE: (u32, u32) = (900, 480);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(90, 90, 90),
];
const FONT: (&str, u32) = ("sans-serif", 16);
/// The quantiles that a report has, as places on an axis.
const QUANTILES: [&str; 5] = ["p50", "p95", "p99", "p99.9", "max"];

/// Draws what `reports` have to show, into `dir`.
pub(crate) fn draw(dir: &Path, reports: &[Report]) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    if reports.iter().any(|report| report.latency_micros.is_some()) {
        percentiles(&dir.join("latency.svg"), reports).map_err(failed)?;
    }
    for report in reports.iter().filter(|report| report.timeline.len() > 1) {
        timeline(&dir.join(format!("{}.svg", report.name)), report).map_err(failed)?;
    }
    Ok(())
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn failed(error: Box<dyn std::error::Error>) -> anyhow::Error {
    anyhow::anyhow!("draw a plot: {error}")
}

fn percentiles(path: &Path, reports: &[Report]) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let timed = || reports.iter().filter_map(|r| r.latency_micros.map(|p| (r.name, p)));
    let top = timed().map(|(_, p)| p.max).max().unwrap_or(1).max(10) as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption("latency of an operation, microseconds", FONT)
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..(QUANTILES.len() - 1) as f64, (1.0..top * 1.2).log_scale())?;
    chart
        .configure_mesh()
        .x_labels(QUANTILES.len())
        .x_label_formatter(&|x| QUANTILES.get(x.round() as usize).copied().unwrap_or("").to_owned())
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for ((name, p), colour) in timed().zip(COLOURS.iter().cycle()) {
        let points = [p.p50, p.p95, p.p99, p.p999, p.max];
        let points = points.into_iter().enumerate().map(|(x, y)| (x as f64, y.max(1) as f64));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

fn timeline(path: &Path, report: &Report) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    // The last second is seldom a whole one.
    let seconds = &report.timeline[..report.timeline.len() - 1];
    let rate: Vec<_> = seconds.iter().map(|s| s.operations as f64).collect();
    let p99: Vec<_> = seconds.iter().map(|s| s.p99 as f64 / 1000.0).collect();
    let name = report.name;
    line(&upper, &format!("{name}: timed operations a second"), &rate, COLOURS[0])?;
    line(&lower, &format!("{name}: p99 of each second, milliseconds"), &p99, COLOURS[1])?;
    root.present()?;
    Ok(())
}

fn line(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    values: &[f64],
    colour: RGBColor,
) -> Drawn {
    let top = values.iter().copied().fold(1.0, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, FONT)
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..values.len().max(2) as f64, 0.0..top)?;
    chart.configure_mesh().x_desc("seconds").draw()?;
    let points = values.iter().enumerate().map(|(second, value)| (second as f64, *value));
    chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    Ok(())
}

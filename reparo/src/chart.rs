//! A picture of what changed when.

use std::path::Path;

use plotters::prelude::*;

use crate::Error;
use crate::activity::{Activity, moment};

const SIZE: (u32, u32) = (1200, 640);
const FONT: (&str, u32) = ("sans-serif", 16);
/// Tables with a line of their own.
const TABLES: usize = 8;
const COLOURS: [RGBColor; TABLES] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(255, 127, 14),
    RGBColor(148, 103, 189),
    RGBColor(90, 90, 90),
    RGBColor(23, 190, 207),
    RGBColor(188, 189, 34),
];

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws the busiest tables into a new SVG file: changed rows above, deleted rows below.
pub(crate) fn draw(path: &Path, activity: &Activity) -> Result<(), Error> {
    let failed = |why: String| Error::Chart { path: path.to_owned(), why };
    if path.exists() {
        return Err(failed("it is there already".to_owned()));
    }
    draw_to(path, activity).map_err(|e| failed(e.to_string()))
}

fn draw_to(path: &Path, activity: &Activity) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    let seconds = activity.every.as_secs();
    part(&upper, &format!("changed rows in {seconds} s"), activity, |[i, u, d]| i + u + d)?;
    part(&lower, &format!("deleted rows in {seconds} s"), activity, |[_, _, d]| *d)?;
    root.present()?;
    Ok(())
}

fn part(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    caption: &str,
    activity: &Activity,
    count: impl Fn(&[u64; 3]) -> u64,
) -> Drawn {
    let every = activity.every.as_millis() as u64;
    let stretches = || activity.tables.values().flat_map(|rows| rows.keys().copied());
    let (first, last) = (stretches().min().unwrap_or(0), stretches().max().unwrap_or(0));
    let top = activity.tables.values().flat_map(|rows| rows.values()).map(&count).max().unwrap_or(0).max(1);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, FONT)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(80)
        .build_cartesian_2d(first as f64..(last + every) as f64, 0.0..top as f64 * 1.1)?;
    chart
        .configure_mesh()
        .x_labels(6)
        .x_label_formatter(&|x| moment(*x as u64))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for ((name, rows), colour) in activity.busiest().into_iter().zip(COLOURS) {
        // A step a stretch; nothing lies between stretches that have no rows.
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (from, counts) in rows {
            let (from, rows) = (*from as f64, count(counts) as f64);
            if points.last().is_some_and(|(x, _)| *x < from) || points.is_empty() {
                points.push((from, 0.0));
            }
            points.push((from, rows));
            points.push((from + every as f64, rows));
            points.push((from + every as f64, 0.0));
        }
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(())
}

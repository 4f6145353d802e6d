//! Charts as specifications of [Vega-Lite 5](https://vega.github.io/schema/vega-lite/v5.json), with their data in them.
//!
//! Fields have names of our own (`x`, `y`, ...): in Vega-Lite a name with a dot or a bracket is a path.

use serde_json::{Map, Value, json};

use super::chart::{Axis, Chart, Mark, Scale};

impl Chart {
    /// The specification.
    pub fn vega_lite(&self) -> Value {
        let is_range = self.points.iter().any(|point| point.end.is_some());
        let mut encoding = Map::new();
        encoding.insert("x".into(), channel("x", &self.x, self.mark));
        encoding.insert("y".into(), channel("y", &self.y, self.mark));
        if is_range {
            encoding.insert("x2".into(), json!({"field": "x2"}));
            if self.x.scale == Scale::Quantitative {
                encoding["x"]["bin"] = json!("binned");
            }
        }
        if let Some(title) = &self.color {
            encoding.insert("color".into(), json!({"field": "color", "type": "nominal", "title": title}));
        }
        let values: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                let mut row = json!({"x": point.x, "y": point.y});
                if let Some(end) = &point.end {
                    row["x2"] = end.clone();
                }
                if let Some(color) = &point.color {
                    row["color"] = json!(color);
                }
                row
            })
            .collect();
        let mark = match self.mark {
            Mark::Bar => json!({"type": "bar", "tooltip": true}),
            Mark::Line => json!({"type": "line", "point": true, "tooltip": true}),
            Mark::Point => json!({"type": "point", "tooltip": true}),
        };
        json!({
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "title": self.title,
            "description": self.title,
            "data": {"values": values},
            "mark": mark,
            "encoding": encoding,
        })
    }
}

fn channel(field: &str, axis: &Axis, mark: Mark) -> Value {
    let mut channel = json!({"field": field, "type": axis.scale.name(), "title": axis.title});
    match axis.scale {
        // In the order of the data.
        Scale::Nominal => channel["sort"] = Value::Null,
        Scale::Quantitative if mark != Mark::Bar => channel["scale"] = json!({"zero": false}),
        // Times without offset are UTC here and everywhere else in the report.
        Scale::Temporal => channel["scale"] = json!({"type": "utc"}),
        Scale::Quantitative => {}
    }
    channel
}

//! `get KIND --watch`: a table that goes on. Its columns are as wide as the first rows need, and grow.

use super::object::{HEADING, cells};
use super::table::visible;
use crate::api::view::ObjectView;
use jiff::Timestamp;

/// The columns so far.
#[derive(Debug)]
pub struct Watched {
    widths: Vec<usize>,
    /// What was printed last for each object, without its age.
    told: Vec<(String, Vec<String>)>,
}

/// At least so wide: names and states that come later should not move everything.
const LEAST: [usize; 4] = [12, 12, 7, 7];
/// The age: what it says changes all the time.
const AGE: usize = 3;

impl Watched {
    /// The heading.
    pub fn begin() -> (Self, String) {
        let mut watched = Self { widths: LEAST.to_vec(), told: Vec::new() };
        let heading: Vec<String> = HEADING.iter().map(|cell| (*cell).to_owned()).collect();
        let text = watched.line(&heading);
        (watched, text)
    }

    /// A row for an object; empty when nothing of what it shows has changed.
    pub fn row(&mut self, view: &ObjectView, now: Timestamp) -> String {
        let row = cells(view, now);
        let mut lasting = row.clone();
        lasting.remove(AGE);
        let key = view.object.to_string();
        match self.told.iter_mut().find(|(told, _)| *told == key) {
            Some((_, told)) if *told == lasting => return String::new(),
            Some((_, told)) => *told = lasting,
            None => self.told.push((key, lasting)),
        }
        self.line(&row)
    }

    /// A row for an object that is gone.
    pub fn gone(&mut self, view: &ObjectView) -> String {
        let key = view.object.to_string();
        self.told.retain(|(told, _)| *told != key);
        let cells = [view.object.name.as_str(), "removed", "-", "", ""].map(str::to_owned);
        self.line(&cells)
    }

    fn line(&mut self, cells: &[String]) -> String {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let Some(width) = self.widths.get_mut(column) else {
                // The last column takes what it needs: a row is a line.
                line.push_str(&cell.replace('\n', " "));
                continue;
            };
            *width = (*width).max(visible(cell));
            line.push_str(cell);
            line.push_str(&" ".repeat(*width + 2 - visible(cell)));
        }
        format!("{}\n", line.trim_end())
    }
}

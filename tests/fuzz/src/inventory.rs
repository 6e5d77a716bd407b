//! An inventory that somebody else recorded, or changed: planned from without a panic, and within the laws that hold whatever it says.

use crate::edits::edited;
use crate::inventories::MOMENTS;
use planner::{Observed, laws};

/// The first two bytes choose a recorded moment; the rest are edits of it.
pub(crate) fn run(bytes: &[u8]) {
    let [low, high, edits @ ..] = bytes else { return };
    let moment = &MOMENTS[usize::from(u16::from_le_bytes([*low, *high])) % MOMENTS.len()];
    let Ok(observed) = serde_json::from_value::<Observed>(edited(moment.observed.clone(), edits)) else { return };
    for desired in [moment.desired.as_ref(), None] {
        let plan = planner::plan(desired, &observed);
        laws::deterministic(desired, &observed, &plan).unwrap();
        laws::no_harm_from_unknown(&observed, &plan).unwrap();
        laws::foreign_untouched(&observed, &plan).unwrap();
        let _ = planner::render::plan(&plan);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let count = u16::try_from(MOMENTS.len()).unwrap();
    (0..count).map(|n| [&n.to_le_bytes()[..], &[3, 0, 14, 0, 0, 9, 1, 11, 200, 1]].concat()).collect()
}

//! The answer to `pinfold why`: everything the plan knows about one object.

use crate::{Disposition, ObjectRef, Plan, Truth, render};
use std::fmt::Write;

/// Why an object is as it is, and what happens to it next; `None` when the plan does not know it.
pub fn why(plan: &Plan, object: &ObjectRef) -> Option<String> {
    let status = plan.objects.iter().find(|status| status.object == *object)?;
    let mut text = format!("{}: {}\n", status.object, status.power);
    for condition in &status.conditions {
        let truth = match condition.status {
            Truth::True => "yes",
            Truth::False => "no",
            Truth::Unknown => "unknown",
        };
        let _ = writeln!(text, "  {:?}: {truth} ({}): {}", condition.kind, condition.reason, condition.message);
    }
    let items: Vec<_> = plan.items.iter().filter(|item| item.object == *object).collect();
    if items.is_empty() {
        text.push_str("Nothing is planned for it.\n");
    }
    for item in &items {
        text.push_str(&render::item(item));
    }
    let timed = items.iter().any(|item| matches!(item.disposition, Disposition::Waiting { .. }));
    if let (true, Some(due)) = (timed, plan.due) {
        let _ = writeln!(text, "Looked at again at {} at the latest.", crate::draft::moment(due));
    }
    Some(text)
}

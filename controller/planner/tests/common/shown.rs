//! The stage in words.

use super::Stage;
use planner::{Disposition, Item, Work};
use std::fmt::Write;

impl Stage {
    /// The host as `xl` would show it, briefly.
    pub fn xl(&self) -> String {
        let mut text = String::new();
        for (poolid, pool) in self.xen.pools() {
            let _ = writeln!(text, "pool {poolid} {} cpus {}", pool.name.as_deref().unwrap_or("-"), pool.cpus);
        }
        let observation = self.xen.observe().unwrap();
        for domain in observation.domains.known().unwrap() {
            let hard =
                domain.vcpus.known().unwrap().iter().map(|vcpu| vcpu.hard.to_string()).collect::<Vec<_>>().join(" ");
            let _ = writeln!(
                text,
                "domain {} {:?} pool {} hard {hard}",
                domain.name.as_deref().unwrap_or("-"),
                domain.state,
                domain.poolid.map_or_else(|| "-".to_owned(), |pool| pool.to_string()),
            );
        }
        text
    }

    /// Conditions and power of one object.
    pub fn status(&self, object: &str) -> String {
        let plan = self.plan();
        let status = plan.objects.iter().find(|status| status.object.to_string() == object).unwrap();
        let conditions =
            status.conditions.iter().map(|c| format!("\n  {:?} {:?} {}: {}", c.kind, c.status, c.reason, c.message));
        format!("{object}: {}{}", status.power, conditions.collect::<String>())
    }
}

/// An item on one line.
pub fn line(item: &Item) -> String {
    let what = match &item.operation {
        Some(operation) => match &operation.work {
            Work::Xen(request) => format!(" do {}", serde_json::to_value(request).unwrap()["do"].as_str().unwrap()),
            Work::Trash { .. } => " do trash".to_owned(),
            Work::Restore { .. } => " do restore".to_owned(),
            Work::Purge { .. } => " do purge".to_owned(),
            Work::Records => " records".to_owned(),
        },
        None => String::new(),
    };
    let disposition = match &item.disposition {
        Disposition::Now => "now".to_owned(),
        Disposition::AtNextStart => "at next start".to_owned(),
        Disposition::Held { until } => format!("held: {until}"),
        Disposition::Waiting { on } => format!("waits: {on}"),
    };
    let changes = if item.changes.len() > 4 {
        String::new()
    } else {
        format!(" [{}]", planner::render::changes_inline(&item.changes))
    };
    format!(
        "{} {}{} ({:?}; {}) {disposition}{what}",
        item.object,
        planner::render::doing(item.action),
        if changes == " []" { String::new() } else { changes },
        item.cause,
        item.reason
    )
}

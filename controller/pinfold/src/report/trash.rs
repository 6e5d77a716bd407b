//! `pinfold trash list`.

use super::age::ago;
use super::short;
use super::table::{WIDTH, paragraph, table};
use crate::api::view::TrashView;
use jiff::Timestamp;

/// What can be done about it, below the list.
const HELP: &str = "Disks stay where they are, whatever becomes of the trash. Restoring its file in git brings a VM back; so does `pinfold trash restore NAME --reason WHY`.";

/// The longest kept last.
pub fn trash(items: &[TrashView], now: Timestamp) -> String {
    if items.is_empty() {
        return "Nothing lies in the trash.\n".to_owned();
    }
    let row = |item: &TrashView| {
        let removed = item.removed.map_or_else(|| "unknown".to_owned(), |at| ago(at, now));
        vec![item.name.clone(), removed, purged(item, now), about(item)]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    format!("{}\n{}", table(&["NAME", "REMOVED", "KEPT UNTIL", "WHAT"], &rows, WIDTH), paragraph(HELP, 0, WIDTH))
}

/// The day, in UTC; what lies in its folder or cannot be read keeps it longer.
fn purged(item: &TrashView, now: Timestamp) -> String {
    match (item.others.is_empty() && item.unknown.is_none(), item.purge_after <= now) {
        (false, _) => "purged by hand".to_owned(),
        (true, true) => "purged soon".to_owned(),
        (true, false) => item.purge_after.strftime("%Y-%m-%d").to_string(),
    }
}

/// One fact a line.
fn about(item: &TrashView) -> String {
    let mut lines = vec![item.uuid.to_string()];
    if let Some(commit) = &item.commit {
        let author = item.author.as_ref().map_or_else(String::new, |author| format!(" of {author}"));
        lines.push(format!("by commit {}{author}", short(commit)));
    }
    lines.extend(item.approved.iter().map(|given| format!("approved by {}: {}", given.actor, given.reason)));
    lines.extend(item.disks.iter().map(|disk| match &disk.mark {
        protocol::Reading::Known(mark) => format!("disk {}: {mark}", disk.path),
        protocol::Reading::Unknown(cause) => format!("disk {}: unknown: {}", disk.path, cause.message),
    }));
    lines.extend(item.unknown.iter().map(|cause| format!("unknown: {}", cause.message)));
    if !item.others.is_empty() {
        lines.push(format!("holds what pinfold did not put there: {}", item.others.join(", ")));
    }
    lines.join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use planner::record::Approved;
    use planner::trash::{DiskMark, TrashedDisk};
    use protocol::{Cause, Reading};
    use uuid::Uuid;

    fn item(name: &str) -> TrashView {
        TrashView {
            folder: format!("2027-01-29--{name}--{}", Uuid::from_u128(7)),
            name: name.to_owned(),
            uuid: Uuid::from_u128(7),
            removed: None,
            purge_after: "2027-01-29T08:00:00Z".parse().unwrap(),
            size: 1200,
            commit: None,
            author: None,
            approved: None,
            disks: Vec::new(),
            others: Vec::new(),
            unknown: None,
        }
    }

    #[test]
    fn it_says_who_removed_what_and_until_when_it_comes_back() {
        let now = "2027-01-15T08:00:00Z".parse().unwrap();
        let mark = DiskMark {
            kind: "file".to_owned(),
            size: 8 << 30,
            id: Some("inode 1201".to_owned()),
            content: Some("gpt 00010203".to_owned()),
        };
        let disks = vec![
            TrashedDisk { path: "/srv/disks/web.img".to_owned(), mark: Reading::Known(mark) },
            TrashedDisk { path: "/srv/gone.img".to_owned(), mark: Reading::unknown("DiskUnreadable", "no such file") },
        ];
        let given = Approved { actor: "uid 0 (root)".to_owned(), reason: "it retires".to_owned(), at: now };
        let web = TrashView {
            removed: Some("2027-01-12T08:00:00Z".parse().unwrap()),
            commit: Some("91c07eeb2c8c4f0e8f1e0a4f3b1de1d7a3c0ffee".to_owned()),
            author: Some("Alice <alice@example.org>".to_owned()),
            approved: Some(given),
            disks,
            ..item("web")
        };
        let old = item("old");
        let full = TrashView { others: vec!["notes.txt".to_owned()], ..item("full") };
        let message = "`record.json` has another checksum".to_owned();
        let torn = TrashView { unknown: Some(Cause { reason: "RecordTorn".to_owned(), message }), ..item("torn") };
        let due = TrashView { purge_after: now, ..item("due") };
        insta::assert_snapshot!(trash(&[web, old, full, torn, due], now), @r"
        NAME  REMOVED  KEPT UNTIL      WHAT
        web   3 d ago  2027-01-29      00000000-0000-0000-0000-000000000007
                                       by commit 91c07ee of Alice <alice@example.org>
                                       approved by uid 0 (root): it retires
                                       disk /srv/disks/web.img: file of 8589934592
                                       bytes, inode 1201, gpt 00010203
                                       disk /srv/gone.img: unknown: no such file
        old   unknown  2027-01-29      00000000-0000-0000-0000-000000000007
        full  unknown  purged by hand  00000000-0000-0000-0000-000000000007
                                       holds what pinfold did not put there: notes.txt
        torn  unknown  purged by hand  00000000-0000-0000-0000-000000000007
                                       unknown: `record.json` has another checksum
        due   unknown  purged soon     00000000-0000-0000-0000-000000000007

        Disks stay where they are, whatever becomes of the trash. Restoring its file in
        git brings a VM back; so does `pinfold trash restore NAME --reason WHY`.
        ");
        insta::assert_snapshot!(trash(&[], now), @"Nothing lies in the trash.");
    }
}

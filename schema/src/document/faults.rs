//! Faults in the words of an author of manifests.

use crate::decode::{Fault, Problem};
use crate::finding::{Finding, Kind};
use crate::json_schema;
use crate::suggest;
use crate::text::Text;

/// Says a fault in the words of an author of manifests.
pub(super) fn finding(fault: Fault, kind: Kind, text: &Text<'_>) -> Finding {
    let (place, parent) = (fault.place(), fault.parent());
    let bytes = fault.bytes.unwrap_or_default();
    let finding = match fault.problem {
        Problem::UnknownField { field, known } => {
            let message = format!(
                "{} no field `{field}`",
                if parent.is_empty() { "a manifest has".to_owned() } else { format!("`{parent}` has") }
            );
            Finding::error("unknown-field", message).label("unknown").help(suggest::help(&field, known))
        }
        Problem::UnknownValue { found, known } => {
            let finding = Finding::error("unknown-value", format!("`{place}` cannot be `{found}`")).label("unknown");
            finding.help(suggest::help(&found, known))
        }
        Problem::MissingField { field, present } => missing_field(&place, field, &present, kind),
        Problem::WrongType { expected, found } => wrong_type(&place, &expected, &found),
        Problem::Invalid(message) => Finding::error("invalid-value", format!("`{place}`: {message}")),
    };
    finding.at(text.location(bytes))
}

/// serde names the first missing field; the schema, made from the same types, knows the others.
fn missing_field(place: &str, field: &'static str, present: &[String], kind: Kind) -> Finding {
    let mut missing = json_schema::required(kind, place);
    missing.retain(|name| !present.contains(name));
    if missing.is_empty() {
        missing.push(field.to_owned());
    }
    let missing = suggest::join(missing.iter().map(String::as_str), "and");
    let whole = if place.is_empty() { "the manifest".to_owned() } else { format!("`{place}`") };
    Finding::error("missing-field", format!("{whole} lacks {missing}")).label(format!("has no {missing}"))
}

fn wrong_type(place: &str, expected: &str, found: &str) -> Finding {
    let (expected, help) = match expected {
        "a string" if found.starts_with("the number") || found.starts_with('`') => ("text", Some("put it in quotes")),
        "a string" => ("text", None),
        "a boolean" => ("`true` or `false`", Some("write `true` or `false`, without quotes")),
        "a sequence" => ("a list", None),
        "a map" => ("a mapping", None),
        other => (other, None),
    };
    let is_number = expected.starts_with("a whole number from") || expected.starts_with("a number from");
    let code = if is_number && found.starts_with("the number") { "out-of-range" } else { "wrong-type" };
    let mut finding = Finding::error(code, format!("`{place}` takes {expected}")).label(format!("found {found}"));
    finding.help.extend(help.map(str::to_owned));
    finding
}

//! Documents as JSON or YAML, and words shared by several commands.

use super::CommandError;
use crate::api::server::parse_kind;
use crate::exit::Exit;
use crate::ui::Ui;
use planner::ObjectKind;
use serde::Serialize;

/// Prints a document as JSON, indented, with a newline at the end.
pub(super) fn json(ui: &mut Ui, document: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| CommandError::new("cannot write JSON").because(&error))?;
    ui.line(&text);
    Ok(())
}

/// Prints a document as JSON on one line: for documents that follow each other.
pub(super) fn json_line(ui: &mut Ui, document: &impl Serialize) -> Result<(), CommandError> {
    let text =
        serde_json::to_string(document).map_err(|error| CommandError::new("cannot write JSON").because(&error))?;
    ui.line(&text);
    Ok(())
}

/// Prints a document as YAML.
pub(super) fn yaml(ui: &mut Ui, document: &impl Serialize) -> Result<(), CommandError> {
    // By way of JSON: one set of field names and forms for both.
    let value =
        serde_json::to_value(document).map_err(|error| CommandError::new("cannot write YAML").because(&error))?;
    let text =
        serde_saphyr::to_string(&value).map_err(|error| CommandError::new("cannot write YAML").because(&error))?;
    ui.data(&text);
    Ok(())
}

/// A kind as it may be typed.
pub(super) fn kind(text: &str) -> Result<ObjectKind, CommandError> {
    let unknown = || {
        CommandError::new(format!("`{text}` is no kind of object"))
            .next("use vm, cp, host, domain or cpupool")
            .exits(Exit::Usage)
    };
    parse_kind(text).ok_or_else(unknown)
}

/// `kind/name` as it may be typed.
pub(super) fn object(text: &str) -> Result<(ObjectKind, String), CommandError> {
    match text.split_once('/') {
        Some((of, name)) if !name.is_empty() => Ok((kind(of)?, name.to_owned())),
        _ => Err(CommandError::new(format!("`{text}` names no object"))
            .next("write KIND/NAME, such as `vm/web`")
            .exits(Exit::Usage)),
    }
}

/// A part of a URL's path, with everything but letters, digits, `-`, `_` and `.` escaped.
pub(super) fn path_part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

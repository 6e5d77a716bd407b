//! The text of one file, with its lines counted once.

use crate::finding::{Bytes, Location};

/// A decoded manifest file.
#[derive(Debug)]
pub(crate) struct Text<'t> {
    pub(crate) file: &'t str,
    /// Without a byte order mark.
    pub(crate) content: &'t str,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl<'t> Text<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        let text = without_mark(text);
        let lines = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self { file, content: text, lines }
    }

    /// A range of bytes as people count.
    pub(crate) fn location(&self, bytes: Bytes) -> Location {
        let (line, column) = self.position(bytes.start);
        let (end_line, end_column) = self.position(bytes.end);
        Location { file: self.file.to_owned(), line, column, end_line, end_column, bytes }
    }

    fn position(&self, byte: usize) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = self.content.get(start..byte).map_or(0, |before| before.chars().count());
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column + 1).unwrap_or(u32::MAX))
    }
}

/// A text without its byte order mark, which some editors of Windows write.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

//! Tables of text: columns as wide as their content, the last one wrapped to the width of the terminal.

use unicode_width::UnicodeWidthStr;

/// The width that everything human is laid out for.
pub const WIDTH: usize = 80;

/// Space between columns.
const GAP: usize = 2;

/// Lays rows out under a heading. Cells may hold colours. The last column wraps within `width`; no line ends in spaces.
pub fn table(heading: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let columns = heading.len();
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.width()).collect();
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(columns) {
            widths[column] = widths[column].max(visible(cell));
        }
    }
    let indent: usize = widths.iter().take(columns - 1).map(|width| width + GAP).sum();
    let mut text = String::new();
    let head: Vec<String> = heading.iter().map(|cell| (*cell).to_owned()).collect();
    push_row(&mut text, &head, &widths, indent, width);
    for row in rows {
        push_row(&mut text, row, &widths, indent, width);
    }
    text
}

fn push_row(text: &mut String, row: &[String], widths: &[usize], indent: usize, width: usize) {
    let mut line = String::new();
    let Some((last, cells)) = row.split_last() else { return };
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.push_str(&" ".repeat(width + GAP - visible(cell)));
    }
    for (index, part) in wrap(last, width.saturating_sub(indent).max(24)).iter().enumerate() {
        if index > 0 {
            line = " ".repeat(indent);
        }
        line.push_str(part);
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Breaks text into lines of at most `width`, at spaces; a longer word gets a line of its own. Never empty.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && visible(&line) + 1 + visible(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Text as an indented paragraph.
pub fn paragraph(text: &str, indent: usize, width: usize) -> String {
    let space = " ".repeat(indent);
    let mut paragraph = String::new();
    for line in wrap(text, width.saturating_sub(indent).max(24)) {
        paragraph.push_str(&space);
        paragraph.push_str(&line);
        paragraph.push('\n');
    }
    paragraph
}

/// Text whose lines may be too wide: those are wrapped, indented a little more than they begin.
pub fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    for line in text.lines() {
        let indent = line.chars().take_while(|c| *c == ' ').count();
        let parts = if visible(line) > width {
            wrap(&line[indent..], width.saturating_sub(indent + 2).max(24))
        } else {
            vec![line[indent..].to_owned()]
        };
        for (index, part) in parts.iter().enumerate() {
            let space = " ".repeat(if index == 0 { indent } else { indent + 2 });
            fitted.push_str(format!("{space}{part}").trim_end());
            fitted.push('\n');
        }
    }
    fitted
}

/// Columns that a text takes, colours left out.
pub(super) fn visible(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_wraps() {
        let rows = vec![
            vec!["vm/web".to_owned(), "\u{1b}[32myes\u{1b}[0m".to_owned(), String::new()],
            vec![
                "vm/a-long-name".to_owned(),
                "no".to_owned(),
                "the kernel is not there; put it back or change the manifest".to_owned(),
            ],
        ];
        let text = anstream::adapter::strip_str(&table(&["OBJECT", "READY", "REASON"], &rows, 50)).to_string();
        insta::assert_snapshot!(text, @"
        OBJECT          READY  REASON
        vm/web          yes
        vm/a-long-name  no     the kernel is not there;
                               put it back or change the
                               manifest
        ");
    }
}

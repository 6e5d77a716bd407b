//! What is said about a file: each construct that is not carried over, with why and what to do.

use crate::syntax::{self, Form, Setting, Value};
use schema::{Finding, Location};
use std::collections::BTreeMap;
use std::ops::Range;

/// The settings of one file that nothing has taken yet, and what was found so far.
pub(crate) struct Sheet<'t> {
    file: &'t str,
    text: &'t str,
    settings: BTreeMap<String, Setting>,
    pub(crate) findings: Vec<Finding>,
}

/// A text with its place.
#[derive(Clone)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) bytes: Range<usize>,
}

impl<'t> Sheet<'t> {
    /// Reads a file. A setting that a later one replaces is reported here; one that is added to becomes one.
    pub(crate) fn read(file: &'t str, text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let read = syntax::read(text);
        let mut sheet = Self { file, text, settings: BTreeMap::new(), findings: Vec::new() };
        for fault in &read.faults {
            sheet.fault(fault);
        }
        for setting in read.settings {
            sheet.put(setting);
        }
        sheet
    }

    fn put(&mut self, setting: Setting) {
        let Some(earlier) = self.settings.remove(&setting.key) else {
            self.settings.insert(setting.key.clone(), setting);
            return;
        };
        let key = setting.key.clone();
        if !setting.adds {
            let line = self.at(&setting.bytes).line;
            self.lost(
                &earlier.bytes,
                &format!("`{key}`"),
                &format!("line {line} sets it again, and the last one counts"),
                "remove one of them",
            );
            self.settings.insert(key, setting);
            return;
        }
        let form = match (&earlier.value.form, &setting.value.form) {
            (Form::Text(first), Form::Text(more)) => Form::Text(format!("{first}{more}")),
            (Form::List(first), Form::List(more)) => Form::List(first.iter().chain(more).cloned().collect()),
            _ => {
                self.lost(
                    &setting.bytes,
                    &format!("`{key} +=`"),
                    "a list and a string do not go together",
                    "make both lists, or both strings",
                );
                self.settings.insert(key, earlier);
                return;
            }
        };
        let value = Value { form, bytes: setting.value.bytes.clone() };
        self.settings.insert(key, Setting { value, ..setting });
    }

    fn fault(&mut self, fault: &syntax::Fault) {
        let finding = match &fault.key {
            Some(key) => Finding::warning("not-literal", format!("`{key}` is not carried over: its value is no literal"))
                .help("nothing is executed here: write a string in quotes, a number, or a list of those; or set the field in the manifest"),
            None => Finding::warning("not-literal", "this is not carried over: it is no `key = value`")
                .help("nothing is executed here: what it would set has to be written into the manifest"),
        };
        let location = self.at(&fault.bytes);
        self.findings.push(finding.at(location));
    }

    /// Takes a setting.
    pub(crate) fn take(&mut self, key: &str) -> Option<Setting> {
        self.settings.remove(key)
    }

    /// Takes whatever setting comes first.
    pub(crate) fn take_any(&mut self) -> Option<Setting> {
        self.settings.pop_first().map(|(_, setting)| setting)
    }

    /// Takes a string or number.
    pub(crate) fn word(&mut self, key: &str) -> Option<Word> {
        let setting = self.take(key)?;
        match setting.value.form {
            Form::Text(text) => Some(Word { text, bytes: setting.value.bytes }),
            Form::List(_) => {
                self.lost(&setting.bytes, &format!("`{key}`"), "a list makes no sense here", "write one value");
                None
            }
        }
    }

    /// Takes a number: decimal, octal or hexadecimal, quoted or not, as xl does.
    pub(crate) fn number(&mut self, key: &str) -> Option<(u64, Range<usize>)> {
        let word = self.word(key)?;
        let number = number(word.text.trim_start());
        if number.is_none() {
            self.lost(
                &word.bytes,
                &format!("`{key}`"),
                &format!("`{}` is no number", word.text),
                "write a whole number",
            );
        }
        number.map(|number| (number, word.bytes))
    }

    /// Takes a list of strings.
    pub(crate) fn words(&mut self, key: &str) -> Vec<Word> {
        let Some(setting) = self.take(key) else { return Vec::new() };
        let Form::List(values) = setting.value.form else {
            self.lost(&setting.bytes, &format!("`{key}`"), "xl wants a list here", "put it into brackets");
            return Vec::new();
        };
        let mut words = Vec::new();
        for value in values {
            match value.form {
                Form::Text(text) => words.push(Word { text, bytes: value.bytes }),
                Form::List(_) => self.lost(
                    &value.bytes,
                    &format!("this part of `{key}`"),
                    "it is a list in a list",
                    "write one string for each",
                ),
            }
        }
        words
    }

    /// Reports something that is not carried over.
    pub(crate) fn lost(&mut self, bytes: &Range<usize>, what: &str, why: &str, next: &str) {
        let finding = Finding::warning("not-carried-over", format!("{what} is not carried over: {why}"));
        let location = self.at(bytes);
        self.findings.push(finding.help(next).at(location));
    }

    /// Reports something that is carried over as something else.
    pub(crate) fn changed(&mut self, bytes: &Range<usize>, message: &str, next: &str) {
        let location = self.at(bytes);
        self.findings.push(Finding::warning("carried-over-differently", message).help(next).at(location));
    }

    /// Reports what keeps the file from becoming a manifest.
    pub(crate) fn refuse(&mut self, bytes: Option<&Range<usize>>, message: &str, next: &str) {
        let location = bytes.map_or_else(|| Location::of_file(self.file), |bytes| self.at(bytes));
        self.findings.push(Finding::error("no-manifest", message).help(next).at(location));
    }

    /// Whether the file becomes no manifest.
    pub(crate) fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == schema::Severity::Error)
    }

    fn at(&self, bytes: &Range<usize>) -> Location {
        Location::within(self.file, self.text, bytes.clone())
    }
}

/// As `strtoul` with base 0.
fn number(text: &str) -> Option<u64> {
    match text {
        "0" => Some(0),
        _ if text.starts_with("0x") => u64::from_str_radix(&text[2..], 16).ok(),
        _ if text.starts_with('0') => u64::from_str_radix(&text[1..], 8).ok(),
        _ => text.parse().ok(),
    }
}

//! The language reference as a Markdown page, made from the same doc comments as everything else.

use crate::field::{self, Field};
use crate::finding::Kind;
use crate::kinds::API_VERSION;
use crate::tree::{MAX_FILE_BYTES, MAX_FILES};
use std::fmt::Write;

/// The page: `docs/language.md`.
pub fn markdown() -> String {
    let mut page = opening();
    for kind in Kind::ALL {
        let root = field::of_kind(kind);
        let _ = write!(page, "\n## {kind}\n\n{}\n\nOn the command line: `{}`.\n", root.meaning, kind.short());
        for part in root.fields.iter().filter(|part| part.name() == "spec") {
            table(part, &mut page);
        }
    }
    page
}

fn opening() -> String {
    let metadata = field::of_kind(Kind::Pool).fields.into_iter().find(|field| field.name() == "metadata");
    let mut page = format!(
        "<!-- Generated from the doc comments in schema/src/kinds. To change it: PINFOLD_GENERATE=1 cargo test -p pinfold-schema --test generated -->\n\
         # The language: `{API_VERSION}`\n\n\
         A configuration is a folder of manifests: every file whose name ends in `.yaml` or `.yml`, at most {MAX_FILES}, each of at most {} KiB.\n\
         Files and folders whose name starts with a dot are skipped, and so is what `.pinfoldignore` in the root lists, in the syntax of `.gitignore`.\n\
         A file may hold several documents, separated by `---`. Any document that is no manifest is an error.\n\n\
         - A **name** is a DNS-1123 label that starts with a letter, and no word that YAML reads as something else (`on`, `no`, `null`, `y` and so on).\n\
         - A **size** is a whole number with `Ki`, `Mi`, `Gi` or `Ti`: `512Mi`. A bare number, `2G` and `1.5Gi` are errors that name the fix.\n\
         - A **duration** is a whole number with `s`, `m`, `h` or `d`: `90s`.\n\
         - A **core** is named by where it sits, `{{socket: 0, core: 2}}`, and not by a pCPU number. All its threads belong to it.\n\
         - A **MAC** stands in quotes.\n\
         - An unknown field, a key that stands twice, a field without a value and a YAML merge key are errors.\n\n\
         A commit with any error is refused as a whole, with every error of every file. *Changing it* says what a change of the field does to a running VM.\n\n\
         ## Every kind\n\n\
         | Field | Type | Meaning | Changing it |\n|---|---|---|---|\n\
         | `apiVersion` * | `{API_VERSION}` | The version of the language. | |\n\
         | `kind` * | {} | The kind of the object. | a new object |\n",
        MAX_FILE_BYTES / 1024,
        Kind::ALL.map(|kind| format!("`{kind}`")).join(", "),
    );
    metadata.iter().flat_map(|metadata| &metadata.fields).for_each(|field| rows(field, &mut page));
    page.push_str("\n\\* required\n");
    page
}

fn table(spec: &Field, page: &mut String) {
    page.push_str("\n| Field | Type | Meaning | Changing it |\n|---|---|---|---|\n");
    for field in &spec.fields {
        rows(field, page);
    }
}

fn rows(field: &Field, page: &mut String) {
    let Field { path, type_words, is_required, meaning, fields, .. } = field;
    let mark = if *is_required { " *" } else { "" };
    let cell = |text: &str| text.replace('|', "\\|");
    let changing = field.changing.as_deref().unwrap_or_default().trim_end_matches('.');
    let _ = writeln!(page, "| `{path}`{mark} | {} | {} | {} |", cell(type_words), cell(meaning), cell(changing));
    for field in fields {
        rows(field, page);
    }
}

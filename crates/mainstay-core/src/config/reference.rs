//! The documentation of all settings, from their tables.

use std::fmt::Write as _;

use super::field::Field;
use super::section::SectionDef;

/// One table for each section.
pub(super) fn markdown(sections: &[SectionDef]) -> String {
    let mut text = String::new();
    for section in sections {
        let head =
            "| variable | key | default | expects | at run time | meaning |\n|---|---|---|---|---|---|";
        let rows: Vec<String> = section.fields.iter().map(row).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "## `[{}]`\n\n{head}\n{}\n", section.name, rows.join("\n"));
    }
    text
}

fn row(field: &Field) -> String {
    let names: Vec<String> = field.env.iter().map(|name| format!("`{name}`")).collect();
    let variable = match names.split_first() {
        None => "none".to_owned(),
        Some((name, [])) => name.clone(),
        Some((name, aliases)) => format!("{name} (or {})", aliases.join(", ")),
    };
    let change = if field.restart { "restart" } else { "changes" };
    let cells =
        [&variable, &format!("`{}`", field.name), &field.default_doc(), &field.expected(), change, field.doc];
    format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

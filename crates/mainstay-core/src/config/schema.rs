//! All sections of one configuration, and the tree of values that fits them.

use std::collections::{BTreeMap, HashMap};

use super::field::Field;
use super::layer::Layer;
use super::problem::{Problems, Report};
use super::section::{Checks, Erased, SectionDef, SectionId};
use super::suggest::nearest;

/// The tables of all sections.
pub(super) struct Schema {
    pub(super) sections: Vec<SectionDef>,
    fields: BTreeMap<String, &'static Field>,
}

impl Schema {
    /// Joins the sections; a name, path or variable declared twice is reported.
    pub(super) fn new(sections: Vec<SectionDef>, report: &mut Report) -> Self {
        let mut fields = BTreeMap::new();
        let mut variables: BTreeMap<&str, String> = BTreeMap::new();
        for (at, section) in sections.iter().enumerate() {
            if sections[..at].iter().any(|other| other.name == section.name) {
                report.add(section.name, None, "two sections have this name");
                continue;
            }
            for field in section.fields {
                let path = format!("{}.{}", section.name, field.name);
                for variable in field.env {
                    if let Some(other) = variables.insert(variable, path.clone()) {
                        report.add(*variable, None, format!("is declared by both {other} and {path}"));
                    }
                }
                if fields.insert(path.clone(), field).is_some() {
                    report.add(path, None, "is declared twice");
                }
            }
        }
        Self { sections, fields }
    }

    /// The row of the table for a path.
    pub(super) fn field(&self, path: &str) -> Option<&'static Field> {
        self.fields.get(path).copied()
    }

    /// Every path with its row, sorted.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &'static Field)> {
        self.fields.iter().map(|(path, field)| (path.as_str(), *field))
    }

    /// The path that sets the variable `name`.
    pub(super) fn path_of_variable(&self, name: &str) -> Option<&str> {
        self.fields().find(|(_, field)| field.env.contains(&name)).map(|(path, _)| path)
    }

    /// What someone who typed the unknown `key` probably meant: a variable's name used as a key, a
    /// near miss, or the right key in the wrong section.
    pub(super) fn suggest(&self, key: &str) -> Option<&str> {
        let leaf = key.rsplit('.').next().unwrap_or(key);
        let sections = self.sections.iter().map(|section| section.name).filter(|_| !key.contains('.'));
        self.path_of_variable(leaf)
            .or_else(|| nearest(key, self.fields.keys().map(String::as_str).chain(sections)))
            .or_else(|| self.fields().find(|(_, field)| field.name == leaf).map(|(path, _)| path))
    }

    /// The tree for `merged`, validated as a whole. Sections that did not change since `previous` keep
    /// their allocation, by which [`Tree::same_section`] knows them.
    pub(super) fn assemble(
        &self,
        merged: Layer,
        previous: Option<&Tree>,
        mut report: Report,
    ) -> Result<Tree, Problems> {
        let mut sections = HashMap::new();
        for def in &self.sections {
            let unchanged = previous.filter(|tree| same_values(def, &merged, &tree.merged));
            let kept = unchanged.and_then(|tree| tree.sections.get(&def.id).cloned());
            let Some(section) = kept.or_else(|| def.build(&merged, &mut report)) else { continue };
            let mut checks = Checks { section: def.name, schema: self, merged: &merged, report: &mut report };
            def.validate(&section, &mut checks);
            sections.insert(def.id.clone(), section);
        }
        report.into_result()?;
        let changed = |tree: &Tree| self.fields.keys().any(|path| !same_value(path, &merged, &tree.merged));
        let version = previous.map_or(0, |tree| tree.version + u64::from(changed(tree)));
        Ok(Tree { version, merged, sections })
    }
}

/// One complete, valid configuration.
pub(super) struct Tree {
    pub(super) version: u64,
    pub(super) merged: Layer,
    pub(super) sections: HashMap<SectionId, Erased>,
}

fn same_values(def: &SectionDef, a: &Layer, b: &Layer) -> bool {
    def.fields.iter().all(|field| same_value(&format!("{}.{}", def.name, field.name), a, b))
}

/// Whether `path` has the same value in both, wherever it comes from.
pub(super) fn same_value(path: &str, a: &Layer, b: &Layer) -> bool {
    a.get(path).map(|setting| &setting.value) == b.get(path).map(|setting| &setting.value)
}

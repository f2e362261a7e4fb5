use std::fmt::Write;

use super::inject::Need;
use super::plan::Plan;

/// The components and who depends on whom, as text for a diagram tool.
///
/// The text depends on the bindings and their order only, so it can be kept in a repository.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<(String, super::Lifetime)>,
    edges: Vec<(usize, usize, Need)>,
}

impl Graph {
    pub(super) fn of(plan: &Plan) -> Self {
        let nodes = plan.nodes.iter().map(|node| (node.label.clone(), node.spec.lifetime)).collect();
        let mut edges = Vec::new();
        for (from, node) in plan.nodes.iter().enumerate() {
            for input in &node.inputs {
                edges.extend(input.nodes.iter().map(|&to| (from, to, input.need)));
            }
        }
        Self { nodes, edges }
    }

    /// A [Mermaid](https://mermaid.js.org/syntax/flowchart.html) flowchart.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (at, (label, lifetime)) in self.nodes.iter().enumerate() {
            line(&mut text, format_args!("    n{at}[\"{}<br>{lifetime}\"]", escape_mermaid(label)));
        }
        for (from, to, need) in &self.edges {
            let arrow = match need {
                Need::One => "-->",
                Need::Optional => "-.->|optional|",
                Need::All => "-->|all|",
            };
            line(&mut text, format_args!("    n{from} {arrow} n{to}"));
        }
        text
    }

    /// A [Graphviz](https://graphviz.org/doc/info/lang.html) digraph.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut text = String::from("digraph container {\n    node [shape=box];\n");
        for (at, (label, lifetime)) in self.nodes.iter().enumerate() {
            line(&mut text, format_args!("    n{at} [label=\"{}\\n{lifetime}\"];", escape_dot(label)));
        }
        for (from, to, need) in &self.edges {
            let style = match need {
                Need::One => "",
                Need::Optional => " [style=dashed, label=optional]",
                Need::All => " [label=all]",
            };
            line(&mut text, format_args!("    n{from} -> n{to}{style};"));
        }
        text + "}\n"
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a String cannot fail");
}

/// Inside a quoted label, Mermaid reads `#name;` as a character and the rest as HTML.
fn escape_mermaid(label: &str) -> String {
    let mut escaped = String::with_capacity(label.len());
    for character in label.chars() {
        match character {
            '#' => escaped.push_str("#35;"),
            '"' => escaped.push_str("#quot;"),
            '&' => escaped.push_str("#amp;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn escape_dot(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        assert_eq!(escape_mermaid(r##"Page<&"#">"##), "Page#lt;#amp;#quot;#35;#quot;#gt;");
        assert_eq!(escape_dot(r#"a\"b"#), r#"a\\\"b"#);
    }
}

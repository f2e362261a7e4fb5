//! Floors between the rooms of `mainstay-core`.

use std::path::Path;

use super::lexer::{Token, tokens};

/// Level 0: anyone may import these, and they import each other only.
const GROUND: &[&str] = &[
    "backoff",
    "budget",
    "codec",
    "deadline",
    "error",
    "key",
    "latency",
    "metrics",
    "policy",
    "secret",
    "store",
    "task",
    "telemetry",
    "time",
];

/// Level 1: these import the ground, and never each other.
const PRIMITIVES: &[&str] = &[
    "adaptive",
    "breaker",
    "bulkhead",
    "cache",
    "config",
    "container",
    "event",
    "health",
    "hedge",
    "lifecycle",
    "lock",
    "rate_limit",
    "retry",
    "shed",
];

/// The one room that is made of others, and those.
const COMPOSED: (&str, &[&str]) = ("pipeline", &["adaptive", "breaker", "bulkhead", "hedge", "retry"]);

/// One line for each import of `file` (a path inside `src`) that its room must not have.
pub(super) fn violations(file: &Path, source: &str) -> Vec<String> {
    let modules = modules(file);
    let Some(room) = modules.first() else {
        return Vec::new(); // lib.rs declares the rooms
    };
    let (composed, parts) = COMPOSED;
    if !GROUND.contains(room) && !PRIMITIVES.contains(room) && *room != composed {
        return vec![format!("room `{room}` has no floor: give it one in xtask/src/floors/rooms.rs")];
    }
    let mut imports = imports(source, modules.len());
    imports.sort_unstable();
    imports.dedup();
    let refused = |import: &&str| {
        let is_part = *room == composed && parts.contains(import);
        *import != *room && !GROUND.contains(import) && !is_part
    };
    let line = |import| format!("mainstay-core/src/{}: `{room}` must not import `{import}`", file.display());
    imports.into_iter().filter(refused).map(line).collect()
}

/// The module path of a file: `health/probe.rs` → `health`, `probe`.
fn modules(file: &Path) -> Vec<&str> {
    let parts = file.iter().filter_map(|part| part.to_str());
    parts.map(|part| part.trim_end_matches(".rs")).filter(|part| !matches!(*part, "mod" | "lib")).collect()
}

/// What the source names directly under the crate's root, by `crate::` or by enough `super::`, in a
/// file that lies `depth` modules below the root.
fn imports(source: &str, depth: usize) -> Vec<&str> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut braces = 0;
    let mut inline = Vec::new(); // brace depth of each open `mod x { … }`
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match (token, &tokens[at + 1..]) {
            (Token::Word("mod"), [Token::Word(_), Token::Mark('{'), ..]) => inline.push(braces),
            (Token::Mark('{'), _) => braces += 1,
            (Token::Mark('}'), _) => {
                braces -= 1;
                inline.pop_if(|opened| *opened == braces);
            }
            (Token::Word("crate"), rest) => found.extend(heads(rest)),
            (Token::Word("super"), mut rest) => {
                let mut climbed = 1;
                while let [Token::Mark(':'), Token::Mark(':'), Token::Word("super"), after @ ..] = rest {
                    rest = after;
                    climbed += 1;
                    at += 3;
                }
                if climbed == depth + inline.len() {
                    found.extend(heads(rest));
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first names behind a path's root: `::a::b` → a; `::{a, b::{c}}` → a, b; `::*` → *. Macros
/// (`::name!`) live at the root whatever room made them, so they are left out.
fn heads<'a>(rest: &[Token<'a>]) -> Vec<&'a str> {
    match rest {
        [Token::Mark(':'), Token::Mark(':'), Token::Word(_), Token::Mark('!'), ..] => Vec::new(),
        [Token::Mark(':'), Token::Mark(':'), Token::Word(name), ..] => vec![name],
        [Token::Mark(':'), Token::Mark(':'), Token::Mark('*'), ..] => vec!["*"],
        [Token::Mark(':'), Token::Mark(':'), Token::Mark('{'), group @ ..] => group_heads(group),
        _ => Vec::new(),
    }
}

fn group_heads<'a>(group: &[Token<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    let (mut open, mut first) = (1, true);
    for token in group {
        match token {
            Token::Mark('{') => open += 1,
            Token::Mark('}') => open -= 1,
            Token::Word(name) if first && open == 1 => names.push(*name),
            _ => {}
        }
        if open == 0 {
            break;
        }
        first = *token == Token::Mark(',');
    }
    names
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::violations;

    fn check(file: &str, source: &str) -> Vec<String> {
        violations(Path::new(file), source)
    }

    #[test]
    fn a_room_may_import_the_ground_and_itself() {
        let source = "use crate::{metrics::Counter, task};\nuse crate::health::probe;";
        assert!(check("health/mod.rs", source).is_empty());
        assert!(check("metrics/mod.rs", "use crate::{error::Error, time};").is_empty());
    }

    #[test]
    fn the_ground_must_not_import_a_primitive() {
        assert_eq!(
            check("metrics/registry.rs", "use crate::config::Metrics;"),
            ["mainstay-core/src/metrics/registry.rs: `metrics` must not import `config`"]
        );
    }

    #[test]
    fn primitives_never_import_each_other_however_the_path_is_written() {
        for source in [
            "use crate::lock;",
            "use crate::lock::Lock;",
            "use crate::{metrics::{Counter, Gauge}, lock::Lock};",
            "pub(crate) use crate :: { lock };",
            "fn f() -> crate::lock::Lock { todo!() }",
            "use super::super::lock::Lock;",
            "mod tests { use super::super::super::lock; }",
            "mod tests { fn f() {} } use super::super::{lock};",
        ] {
            let found = check("cache/memory.rs", source);
            assert_eq!(
                found,
                ["mainstay-core/src/cache/memory.rs: `cache` must not import `lock`"],
                "{source}"
            );
        }
    }

    #[test]
    fn the_composed_room_imports_its_parts_and_nobody_imports_it() {
        assert!(check("pipeline/limit.rs", "use crate::{bulkhead::Bulkhead, deadline};").is_empty());
        assert_eq!(check("pipeline/limit.rs", "use crate::cache::Cache;").len(), 1);
        assert_eq!(check("retry/mod.rs", "use crate::pipeline::Pipeline;").len(), 1);
        assert_eq!(check("retry/mod.rs", "use crate::breaker::Breaker;").len(), 1);
    }

    #[test]
    fn a_module_of_the_room_may_have_the_name_of_another_room() {
        assert!(check("cache/mod.rs", "mod config; use self::config::X;").is_empty());
        assert!(
            check("cache/memory.rs", "use super::config::X; mod t { use super::super::config::X; }")
                .is_empty()
        );
    }

    #[test]
    fn prose_is_not_an_import() {
        let source = "//! See [`crate::lock`].\n/* crate::lock */ const S: &str = \"crate::lock\"; pub(crate) fn f() {}";
        assert!(check("cache/mod.rs", source).is_empty());
    }

    #[test]
    fn what_the_crate_root_reexports_is_not_a_way_around() {
        assert_eq!(check("cache/mod.rs", "use crate::Lock;").len(), 1);
        assert_eq!(check("cache/mod.rs", "use crate::*;").len(), 1);
        assert!(check("cache/mod.rs", "crate::event!(x);").is_empty());
    }

    #[test]
    fn a_new_room_must_be_given_a_floor() {
        assert!(check("attic.rs", "")[0].starts_with("room `attic` has no floor"));
        assert!(check("lib.rs", "pub mod attic; pub use crate::attic::Box;").is_empty());
    }
}

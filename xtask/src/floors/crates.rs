//! Floors between crates.

use crate::metadata::{Dependency, Package};

/// Libraries and their floors. A crate depends on lower floors only.
const LIBRARIES: &[(&str, u8)] = &[
    ("mainstay", 3),
    ("mainstay-redis", 2),
    ("mainstay-sql", 2),
    ("mainstay-http", 2),
    ("mainstay-client", 2),
    ("mainstay-auth", 2),
    ("mainstay-core", 1),
];

/// What the top floor may use, and nobody may use them.
const TOP: u8 = 4;

/// The steps sideways: the HTTP host checks tokens, the database keeps sessions.
const SIDEWAYS: &[(&str, &str)] = &[("mainstay-http", "mainstay-auth"), ("mainstay-sql", "mainstay-auth")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Floor(u8),
    /// Helps the tests of every floor, so it is only ever a dev-dependency.
    Testkit,
    /// Developer commands: outside the house.
    Xtask,
}

/// One line for each dependency that does not point down, and for each crate without a floor.
pub(super) fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let Some(place) = place(package) else {
            let Package { name, .. } = package;
            found.push(format!("{name} has no floor: give it one in xtask/src/floors/crates.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let target = packages.iter().find(|other| other.name == dependency.name).and_then(self::place);
            let Some(target) = target else { continue };
            let sideways = SIDEWAYS.contains(&(&package.name, &dependency.name));
            if !sideways && !may_use(place, target, dependency) {
                found.push(format!("{} must not depend on {}", package.name, dependency.name));
            }
        }
    }
    found
}

fn may_use(user: Place, used: Place, dependency: &Dependency) -> bool {
    match (user, used) {
        (Place::Xtask, _) => true,
        (_, Place::Xtask) => false,
        (_, Place::Testkit) => dependency.kind.as_deref() == Some("dev"),
        (Place::Testkit, Place::Floor(floor)) => floor < TOP,
        (Place::Floor(user), Place::Floor(used)) => used < user,
    }
}

fn place(package: &Package) -> Option<Place> {
    let library = LIBRARIES.iter().find(|(name, _)| *name == package.name);
    match package.name.as_str() {
        "xtask" => Some(Place::Xtask),
        "mainstay-testkit" => Some(Place::Testkit),
        "mainstay-cli" => Some(Place::Floor(TOP)),
        _ if is_application(package) => Some(Place::Floor(TOP)),
        _ => library.map(|(_, floor)| Place::Floor(*floor)),
    }
}

fn is_application(package: &Package) -> bool {
    package.manifest_path.iter().any(|part| part == "services" || part == "examples")
}

#[cfg(test)]
mod tests {
    use super::violations;
    use crate::metadata::{Dependency, Package};

    /// `user -> used` in `kind`, with both in the workspace.
    fn check(user: &str, used: &str, kind: Option<&str>) -> Vec<String> {
        let mut user = package(user);
        user.dependencies.push(Dependency { name: used.into(), kind: kind.map(str::to_owned) });
        violations(&[user, package(used)])
    }

    fn package(name: &str) -> Package {
        let dir = if name.ends_with("-service") { "services" } else { "crates" };
        Package {
            name: name.into(),
            manifest_path: format!("/repo/{dir}/{name}/Cargo.toml").into(),
            dependencies: Vec::new(),
            features: Default::default(),
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_dependency_that_points_down_is_accepted() {
        for (user, used) in [
            ("user-service", "mainstay"),
            ("mainstay", "mainstay-sql"),
            ("mainstay-redis", "mainstay-core"),
            ("mainstay-http", "mainstay-auth"),
            ("mainstay-testkit", "mainstay-core"),
        ] {
            assert!(check(user, used, None).is_empty(), "{user} -> {used}");
        }
    }

    #[test]
    fn a_dependency_that_points_up_or_sideways_is_refused() {
        for (user, used) in [
            ("mainstay-core", "mainstay-sql"),
            ("mainstay-sql", "mainstay"),
            ("mainstay-http", "mainstay-sql"),
            ("mainstay-auth", "mainstay-http"),
            ("mainstay", "user-service"),
            ("order-service", "user-service"),
            ("mainstay", "xtask"),
        ] {
            for kind in [None, Some("dev"), Some("build")] {
                assert_eq!(check(user, used, kind), [format!("{user} must not depend on {used}")]);
            }
        }
    }

    #[test]
    fn the_testkit_is_only_a_dev_dependency() {
        assert!(check("mainstay-core", "mainstay-testkit", Some("dev")).is_empty());
        assert_eq!(check("mainstay-core", "mainstay-testkit", None).len(), 1);
    }

    #[test]
    fn a_new_crate_must_be_given_a_floor() {
        let found = violations(&[package("mainstay-attic")]);
        assert!(found[0].starts_with("mainstay-attic has no floor"), "{found:?}");
    }
}

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn listed(permissions: &Permissions) -> Vec<&str> {
    permissions.iter().map(crate::Permission::as_str).collect()
}

#[test]
fn a_role_permits_its_own_and_what_it_inherits_and_nothing_else() {
    let roles = Roles::builder()
        .inherits("admin", "editor")
        .inherits("editor", "user")
        .role("user", ["posts:read"])
        .role("editor", ["posts:write", "posts:write"])
        .role("admin", ["users:write"])
        .build()
        .unwrap();
    assert_eq!(listed(&roles.permissions(["admin"])), ["posts:read", "posts:write", "users:write"]);
    assert_eq!(listed(&roles.permissions(["editor"])), ["posts:read", "posts:write"]);
    assert_eq!(listed(&roles.permissions(["user"])), ["posts:read"]);
    assert_eq!(listed(&roles.permissions(["user", "ghost", "admin", "user"])).len(), 3);
    assert_eq!(roles.names(), ["admin", "editor", "user"]);
}

#[test]
fn an_unknown_role_permits_nothing() {
    let roles = Roles::builder().role("user", ["posts:read"]).build().unwrap();
    for ghost in ["ghost", "", "User", "user ", "*"] {
        assert_eq!(roles.permissions([ghost]), Permissions::default(), "{ghost:?}");
        assert!(!roles.contains(ghost));
    }
    assert_eq!(roles.permissions([]), Permissions::default());
    assert_eq!(Roles::default().permissions(["user"]), Permissions::default());
}

#[test]
fn what_is_wrong_with_the_roles_is_named() {
    let wrong = |builder: RolesBuilder| builder.build().unwrap_err().to_string();
    let start = || Roles::builder().role("a", []).role("b", []).role("c", []);
    for (builder, says) in [
        (start().inherits("c", "a").inherits("a", "b").inherits("b", "c"), "each other: a -> b -> c -> a"),
        (start().inherits("a", "b").inherits("b", "c").inherits("c", "b"), "each other: b -> c -> b"),
        (start().inherits("a", "a"), "each other: a -> a"),
        (start().inherits("a", "ghost"), "there is no role ghost"),
        (start().inherits("ghost", "a"), "there is no role ghost"),
        (start().role("b", []), "role b is described twice"),
        (start().role("d", ["users:read", "users:*"]), "role d: \"users:*\" is not a permission"),
        (start().role("d e", []), "\"d e\" cannot name a role"),
        (start().role("", []), "\"\" cannot name a role"),
        (start().role(&"x".repeat(65), []), "cannot name a role"),
    ] {
        let said = wrong(builder);
        assert!(said.contains(says), "{said:?} does not say {says:?}");
    }
}

#[test]
fn roles_and_permissions_are_bounded_in_number() {
    let many = |count: usize| {
        (0..count).fold(Roles::builder(), |builder, index| builder.role(&format!("r{index}"), []))
    };
    assert!(many(MAX_ROLES).build().is_ok());
    assert_eq!(
        many(MAX_ROLES + 1).build().unwrap_err(),
        RoleError::TooMany { what: "roles", most: MAX_ROLES }
    );

    let texts: Vec<String> = (0..=MAX_PERMISSIONS).map(|index| format!("thing:{index}")).collect();
    let with = |count: usize| Roles::builder().role("all", texts[..count].iter().map(String::as_str)).build();
    assert!(with(MAX_PERMISSIONS).is_ok());
    assert!(matches!(with(MAX_PERMISSIONS + 1), Err(RoleError::TooMany { what: "permissions", .. })));
}

#[test]
fn the_longest_chain_of_roles_is_followed_to_its_end() {
    let mut builder = Roles::builder();
    for index in 0..MAX_ROLES {
        let own = format!("thing:{index}");
        builder = builder.role(&format!("r{index}"), [own.as_str()]);
        if index > 0 {
            builder = builder.inherits(&format!("r{index}"), &format!("r{}", index - 1));
        }
    }
    let roles = builder.clone().build().unwrap();
    assert_eq!(roles.permissions([format!("r{}", MAX_ROLES - 1).as_str()]).iter().count(), MAX_ROLES);
    let cycle = builder.inherits("r0", &format!("r{}", MAX_ROLES - 1)).build();
    assert!(matches!(cycle, Err(RoleError::Cycle { path }) if path.len() == MAX_ROLES + 1));
}

#[test]
fn roles_are_read_from_a_file() {
    let text = r#"{"user": {"permissions": ["posts:read"]}, "admin": {"inherits": ["user"]}, "none": {}}"#;
    let specs: BTreeMap<String, RoleSpec> = serde_json::from_str(text).unwrap();
    let roles = Roles::from_specs(&specs).unwrap();
    assert!(roles.permissions(["admin"]).contains("posts:read"));
    assert!(roles.contains("none"));

    let misspelt = serde_json::from_str::<BTreeMap<String, RoleSpec>>(r#"{"user": {"permission": []}}"#);
    assert!(misspelt.unwrap_err().to_string().contains("permission"));
}

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Every role reachable from `role`, walked without cleverness.
fn reachable(role: usize, edges: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut next = vec![role];
    while let Some(at) = next.pop() {
        for &(_, parent) in edges.iter().filter(|edge| edge.0 == at) {
            if seen.insert(parent) {
                next.push(parent);
            }
        }
    }
    seen
}

proptest! {
    #[test]
    fn any_graph_is_either_a_named_cycle_or_permits_what_is_reachable(
        edges in proptest::collection::vec((0..NAMES.len(), 0..NAMES.len()), 0..12)
    ) {
        let mut builder = Roles::builder();
        for name in NAMES {
            builder = builder.role(name, [format!("{name}:do").as_str()]);
        }
        for &(role, parent) in &edges {
            builder = builder.inherits(NAMES[role], NAMES[parent]);
        }
        let cyclic = (0..NAMES.len()).any(|role| reachable(role, &edges).contains(&role));
        match builder.build() {
            Err(RoleError::Cycle { path }) => {
                prop_assert!(cyclic && path.len() >= 2 && path.first() == path.last());
                for step in path.windows(2) {
                    let edge = |&(role, parent): &(usize, usize)| NAMES[role] == step[0] && NAMES[parent] == step[1];
                    prop_assert!(edges.iter().any(edge), "{} does not inherit from {}", step[0], step[1]);
                }
            }
            Err(other) => prop_assert!(false, "{}", other),
            Ok(roles) => {
                prop_assert!(!cyclic);
                for (index, name) in NAMES.iter().enumerate() {
                    let mut expected = reachable(index, &edges);
                    expected.insert(index);
                    let expected: Vec<String> = expected.iter().map(|&at| format!("{}:do", NAMES[at])).collect();
                    let permissions = roles.permissions([*name]);
                    prop_assert_eq!(listed(&permissions), expected);
                }
            }
        }
    }
}

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{MAX_NAME, MAX_PERMISSIONS, MAX_ROLES, RoleError, Roles};
use crate::{Permission, Permissions};

/// Collects roles in any order; [`build`](Self::build) checks them all.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is checked or usable before `build`"]
pub struct RolesBuilder {
    roles: Vec<(String, Vec<String>)>,
    inherits: Vec<(String, String)>,
}

/// A role as it was described, and what came of it.
#[derive(Default)]
struct Node {
    own: BTreeSet<Permission>,
    parents: BTreeSet<String>,
}

impl RolesBuilder {
    /// Describes a role by what it permits itself.
    pub fn role<'a>(mut self, role: &str, permissions: impl IntoIterator<Item = &'a str>) -> Self {
        self.roles.push((role.to_owned(), permissions.into_iter().map(str::to_owned).collect()));
        self
    }

    /// Lets `role` do all that `parent` may. Both are described by [`role`](Self::role), before or after.
    pub fn inherits(mut self, role: &str, parent: &str) -> Self {
        self.inherits.push((role.to_owned(), parent.to_owned()));
        self
    }

    /// Checks the roles and works out what each permits.
    ///
    /// # Errors
    /// [`RoleError`] names the first thing that is wrong.
    pub fn build(self) -> Result<Roles, RoleError> {
        let nodes = self.nodes()?;
        let mut done = HashMap::with_capacity(nodes.len());
        for role in nodes.keys() {
            resolve(role, &nodes, &mut Vec::new(), &mut done)?;
        }
        let done = done.into_iter().map(|(role, permissions)| (role.to_owned(), permissions));
        Ok(Roles(Arc::new(done.collect())))
    }

    fn nodes(self) -> Result<BTreeMap<String, Node>, RoleError> {
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        let mut different = BTreeSet::new();
        for (role, permissions) in self.roles {
            if !is_name(&role) {
                return Err(RoleError::InvalidName(role.chars().take(MAX_NAME).collect()));
            }
            if nodes.contains_key(&role) {
                return Err(RoleError::Twice(role));
            }
            let parse = |text: String| text.parse::<Permission>();
            let own: BTreeSet<Permission> = match permissions.into_iter().map(parse).collect() {
                Ok(own) => own,
                Err(source) => return Err(RoleError::InvalidPermission { role, source }),
            };
            different.extend(own.iter().cloned());
            nodes.insert(role, Node { own, ..Node::default() });
        }
        for (what, count, most) in
            [("roles", nodes.len(), MAX_ROLES), ("permissions", different.len(), MAX_PERMISSIONS)]
        {
            if count > most {
                return Err(RoleError::TooMany { what, most });
            }
        }
        for (role, parent) in self.inherits {
            if !nodes.contains_key(&parent) {
                return Err(RoleError::UnknownParent { role, parent });
            }
            match nodes.get_mut(&role) {
                Some(node) => _ = node.parents.insert(parent),
                None => return Err(RoleError::UnknownRole { role, parent }),
            }
        }
        Ok(nodes)
    }
}

/// What `role` permits with all it inherits. `path` is how it was come to; its length is bounded by [`MAX_ROLES`],
/// and so is the recursion.
fn resolve<'a>(
    role: &'a str,
    nodes: &'a BTreeMap<String, Node>,
    path: &mut Vec<&'a str>,
    done: &mut HashMap<&'a str, Permissions>,
) -> Result<Permissions, RoleError> {
    if let Some(permissions) = done.get(role) {
        return Ok(permissions.clone());
    }
    if let Some(start) = path.iter().position(|&seen| seen == role) {
        let path = path[start..].iter().chain([&role]).map(|&role| role.to_owned()).collect();
        return Err(RoleError::Cycle { path });
    }
    path.push(role);
    let node = &nodes[role];
    let mut all = node.own.clone();
    for parent in &node.parents {
        all.extend(resolve(parent, nodes, path, done)?.iter().cloned());
    }
    path.pop();
    let permissions: Permissions = all.into_iter().collect();
    done.insert(role, permissions.clone());
    Ok(permissions)
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(plain)
}

use std::fmt;

/// What an account may do: `user`, which everyone has, first; then the others, sorted.
///
/// Stored as words between spaces.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Roles(String);

/// The role that everyone has.
const USER: &str = "user";

/// The role that may look after everybody's accounts.
pub const ADMIN: &str = "admin";

impl Roles {
    /// These roles and `user`.
    ///
    /// # Errors
    /// The name that does not match `[a-z][a-z0-9_-]{0,31}`.
    pub fn with<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidRole> {
        let names: Vec<&str> = names.into_iter().collect();
        match names.iter().find(|name| !is_role(name)) {
            Some(bad) => Err(InvalidRole((*bad).to_owned())),
            None => Ok(Self::sorted(names)),
        }
    }

    /// A role by its name.
    ///
    /// # Errors
    /// The name cannot be a role.
    pub fn one(name: &str) -> Result<Self, InvalidRole> {
        Self::with([name])
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self::sorted(self.iter().chain(others.iter()).collect())
    }

    /// These without those; `user` stays.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self::sorted(self.iter().filter(|role| !others.has(role)).collect())
    }

    fn sorted(mut names: Vec<&str>) -> Self {
        names.retain(|name| *name != USER);
        names.sort_unstable();
        names.dedup();
        names.insert(0, USER);
        Self(names.join(" "))
    }

    /// Whether this is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|role| role == name)
    }

    /// The names between spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One name after the other.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self(USER.to_owned())
    }
}

fn is_role(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// A name that cannot be a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role: a lower-case letter, then up to 31 lower-case letters, digits, `_` or `-`")]
pub struct InvalidRole(String);

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Roles;

    #[test]
    fn everyone_has_user_and_it_stands_first() {
        let roles = Roles::with(["editor", "admin", "user", "admin"]).unwrap();
        assert_eq!(roles.iter().collect::<Vec<_>>(), ["user", "admin", "editor"]);
        assert_eq!(Roles::with([]).unwrap(), Roles::default());
    }

    #[test]
    fn a_name_that_cannot_be_a_role_is_refused() {
        for bad in ["", "Admin", "1st", "-x", "a b", "é", &"a".repeat(33)] {
            assert!(Roles::with([bad]).is_err(), "{bad:?}");
        }
        assert!(Roles::with(["a".repeat(32).as_str()]).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_accepted_survives_storage(names in prop::collection::vec("[a-z0-9_ -]{0,34}", 0..5)) {
            if let Ok(roles) = Roles::with(names.iter().map(String::as_str)) {
                prop_assert_eq!(Roles::with(roles.iter()).unwrap(), roles);
            }
        }
    }
}

//! The database as this version of the service needs it.

use mainstay::sql::{Dialect, Migration, Migrations, idempotency};

/// In the order in which they are applied. What has shipped is never changed; a change is a new one.
pub(crate) fn migrations() -> Migrations {
    Migrations::new([
        Migration::sql(1, "users", include_str!("../migrations/0001_users.sql"))
            .on(Dialect::Mysql, include_str!("../migrations/0001_users.mysql.sql")),
        idempotency::migration(2),
        Migration::sql(3, "user audit", include_str!("../migrations/0003_user_audit.sql"))
            .on(Dialect::Mysql, include_str!("../migrations/0003_user_audit.mysql.sql")),
        Migration::sql(4, "users deleted at", include_str!("../migrations/0004_users_deleted_at.sql")),
        Migration::sql(5, "users password", include_str!("../migrations/0005_users_password.sql")),
        Migration::sql(6, "users phone sealed", include_str!("../migrations/0006_users_phone_sealed.sql")),
    ])
}

//! What differs between the two: programs, settings, client.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// PostgreSQL, as it is installed here.
    Postgres,
    /// MariaDB, which stands in for MySQL as well.
    MariaDb,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        }
    }

    /// Fills an empty directory with an empty database that trusts whoever comes.
    pub(super) fn init(self, data: &Path) -> Command {
        match self {
            Self::Postgres => {
                let mut init = Command::new(postgres("initdb"));
                init.arg("-D").arg(data).args(["-U", "app", "--auth=trust", "-E", "UTF8", "--locale=C"]);
                init.args(["--no-sync", "--no-instructions", "--wal-segsize=1"]);
                init
            }
            Self::MariaDb => {
                let mut init = Command::new(program("mariadb-install-db", "mariadb-server"));
                init.args(["--no-defaults", "--skip-test-db", "--innodb-log-file-size=16M"]);
                init.arg("--auth-root-authentication-method=normal")
                    .arg(format!("--datadir={}", data.display()));
                init
            }
        }
    }

    /// Everything is written to the kernel at a commit, and nothing waits for the disk.
    pub(super) fn serve(self, data: &Path, port: u16) -> Command {
        match self {
            Self::Postgres => {
                let mut serve = Command::new(postgres("postgres"));
                serve.arg("-D").arg(data).args(["-p", &port.to_string()]);
                for setting in [
                    "listen_addresses=127.0.0.1",
                    "unix_socket_directories=",
                    "fsync=off",
                    "full_page_writes=off",
                    "max_connections=400",
                    "shared_buffers=32MB",
                ] {
                    serve.args(["-c", setting]);
                }
                serve
            }
            Self::MariaDb => {
                let mut serve = Command::new(program("mariadbd", "mariadb-server"));
                serve.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
                serve
                    .arg(format!("--socket={}", data.join("socket").display()))
                    .arg(format!("--port={port}"));
                serve.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--max-connections=400"]);
                serve.args(["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]);
                serve.args(["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M"]);
                serve
            }
        }
    }

    /// One statement, with its rows on the output, tab-separated and without a head.
    pub(super) fn ask(self, port: u16, database: &str, sql: &str) -> Command {
        match self {
            Self::Postgres => {
                let mut ask = Command::new(postgres("psql"));
                ask.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"]);
                ask.args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &port.to_string(),
                    "-U",
                    "app",
                    "-d",
                    database,
                    "-c",
                    sql,
                ]);
                ask
            }
            Self::MariaDb => {
                let mut ask = Command::new(program("mariadb", "mariadb-server"));
                ask.args([
                    "--no-defaults",
                    "--protocol=tcp",
                    "--batch",
                    "--skip-column-names",
                    "--user=root",
                ]);
                ask.args(["--host=127.0.0.1", &format!("--port={port}"), database, "-e", sql]);
                ask
            }
        }
    }

    /// A database that every server has.
    pub(super) const fn home(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mysql",
        }
    }

    pub(super) fn create_database(self, name: &str) -> String {
        match self {
            Self::Postgres => format!("CREATE DATABASE {name} TEMPLATE template0"),
            // As SQLite and PostgreSQL compare text.
            Self::MariaDb => format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"),
        }
    }

    pub(super) fn url(self, port: u16, database: &str) -> String {
        match self {
            Self::Postgres => format!("postgres://app@127.0.0.1:{port}/{database}"),
            Self::MariaDb => format!("mariadb://root@127.0.0.1:{port}/{database}"),
        }
    }
}

/// Debian keeps the programs of each version in a directory of its own; the newest is taken.
fn postgres(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |dir: &PathBuf| dir.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions
        .map(|entry| entry.path())
        .filter(|dir| dir.join("bin").join(name).is_file())
        .max_by_key(version);
    newest.map_or_else(|| program(name, "postgresql"), |dir| dir.join("bin").join(name))
}

//! Promises of `sql`: real servers, each alike.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use mainstay_testkit::sql::{Kind, SqlServer};

const BOTH: [Kind; 2] = [Kind::Postgres, Kind::MariaDb];

#[test]
fn each_database_of_the_shared_server_is_empty_and_apart() {
    for kind in BOTH {
        let (server, again) = (SqlServer::shared(kind), SqlServer::shared(kind));
        assert_eq!(server.port(), again.port());
        let (one, other) = (server.database(), again.database());
        server.ask(&one, "CREATE TABLE t (id BIGINT)");
        server.ask(&other, "CREATE TABLE t (id BIGINT)");
        assert_eq!(server.ask(&one, "SELECT count(*) FROM t"), "0");
    }
}

#[test]
fn what_was_committed_survives_a_kill() {
    for kind in BOTH {
        let mut server = SqlServer::start(kind);
        let database = server.database();
        server.ask(&database, "CREATE TABLE t (id BIGINT)");
        server.ask(&database, "INSERT INTO t (id) VALUES (7)");
        server.kill();
        assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
        server.restart();
        assert_eq!(server.ask(&database, "SELECT id FROM t"), "7");
    }
}

#[test]
fn a_paused_server_answers_when_it_is_resumed_and_not_before() {
    for kind in BOTH {
        let mut server = SqlServer::start(kind);
        let (database, port) = (server.database(), server.port());
        assert!(is_greeted(kind, port));
        server.pause();
        assert!(!is_greeted(kind, port), "but nobody answers");
        let other = SqlServer::shared(kind);
        assert_eq!(other.ask(&other.database(), "SELECT 1"), "1", "others are not disturbed");
        server.resume();
        assert_eq!(server.ask(&database, "SELECT 1"), "1");
    }
}

/// Whether the server says a byte within half a second; PostgreSQL is asked first, whether it speaks TLS.
fn is_greeted(kind: Kind, port: u16) -> bool {
    let mut server =
        TcpStream::connect(("127.0.0.1", port)).expect("the kernel accepts even for a frozen server");
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    if kind == Kind::Postgres {
        server.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    }
    server.read_exact(&mut [0]).is_ok()
}

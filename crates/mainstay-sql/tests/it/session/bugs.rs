//! The contract of session stores finds what could be wrong with this one: each bug is in one statement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use mainstay_sql::Options;
use mainstay_sql::session::SqlSessions;
use mainstay_testkit::conformance::session::{Backend, suite};

use super::migrated;

/// What is wrong, in which statement what stands for what, and how the case that finds it begins.
type Bug = (&'static str, &'static str, &'static str, &'static str, &'static str);

const ROTATE: &str = "UPDATE auth_sessions SET token";
const FIND: &str = "previous, rotated_at";
const REUSED: &str = "DELETE FROM auth_sessions WHERE family";
const ROOM: &str = "SELECT id FROM auth_sessions WHERE subject_digest = ? ORDER";
const MAKE_ROOM: &str = "DELETE FROM auth_sessions WHERE id = ?;";
const REVOKE: &str = "DELETE FROM auth_sessions WHERE id = ? AND subject_digest";
const ALL: &str = "DELETE FROM auth_sessions WHERE subject_digest";
const LIST: &str = "expires_at FROM auth_sessions WHERE subject_digest";
const PURGE: &str = "DELETE FROM auth_sessions WHERE expires_at";
const OPEN: &str = "INSERT INTO auth_sessions";

const BUGS: &[Bug] = &[
    (
        "any token is the last",
        ROTATE,
        "token = ? AND",
        "(token = ? OR 1) AND",
        "a token that comes back within",
    ),
    (
        "the token stays",
        ROTATE,
        "SET token = ?",
        "SET token = coalesce(token, ?)",
        "the last token is replaced",
    ),
    ("no grace", ROTATE, "previous = ?", "previous = '' || substr(?, 1, 0)", "of many who present one token"),
    (
        "an endless grace",
        ROTATE,
        "rotated_at = ?",
        "rotated_at = ? + 1000000000",
        "a token that comes back after",
    ),
    ("a refresh is no use", ROTATE, "used_at = ?", "used_at = min(used_at, ?)", "the last token is replaced"),
    ("idle for ever", ROTATE, "used_at >= ?", "used_at >= -?", "a session that is not used"),
    ("over a moment early", ROTATE, "used_at >= ?", "used_at > ?", "a session that is not used"),
    ("alive for ever", ROTATE, "expires_at > ?", "expires_at > -?", "a session that has lasted its lifetime"),
    (
        "alive a moment more",
        ROTATE,
        "expires_at > ?",
        "expires_at >= ?",
        "a session that has lasted its lifetime",
    ),
    ("another session", FIND, "WHERE family = ?", "WHERE family <> ?", "a token of no session"),
    ("reuse ends nothing", REUSED, "family = ?", "family = ? AND 0", "a token that comes back after"),
    ("reuse ends everything", REUSED, "family = ?", "(family = ? OR 1)", "a token that comes back after"),
    ("the newest makes room", ROOM, "used_at DESC", "used_at", "beyond the most of one subject"),
    (
        "anybody makes room",
        ROOM,
        "subject_digest = ?",
        "subject_digest >= '' || substr(?, 1, 0)",
        "beyond the most",
    ),
    ("nobody makes room", MAKE_ROOM, "id = ?", "id = ? AND 0", "beyond the most of one subject"),
    (
        "anybody revokes",
        REVOKE,
        "subject_digest = ?",
        "(subject_digest = ? OR 1)",
        "a session is not revoked for",
    ),
    (
        "everybody's are revoked",
        ALL,
        "subject_digest = ?",
        "(subject_digest = ? OR 1)",
        "all sessions of a subject are",
    ),
    ("none stays", ALL, "id <> ?", "(id <> ? OR 1)", "all sessions of a subject but one"),
    ("all stay", ALL, "id <> ?", "id <> ? AND 0", "all sessions of a subject are"),
    ("what is over is listed", LIST, "used_at >= ?", "used_at >= -?", "sessions are listed from the last"),
    ("listed backwards", LIST, "used_at DESC", "used_at", "sessions are listed from the last"),
    ("listed without order", LIST, ", id;", ", id DESC;", "sessions are listed from the last"),
    ("what is idle is kept", PURGE, "used_at < ?", "used_at < -?", "sessions that are over are forgotten"),
    (
        "what is expired is kept",
        PURGE,
        "expires_at <= ?",
        "expires_at <= -?",
        "sessions that are over are forgotten",
    ),
    (
        "all is forgotten",
        PURGE,
        "expires_at <= ?",
        "expires_at >= -?",
        "sessions that are over are forgotten",
    ),
    (
        "whole seconds",
        OPEN,
        "?, ?, ?, ?)",
        "? / 1000000 * 1000000, ?, ?, ?)",
        "what is listed is what was kept",
    ),
];

/// The statements that a bug got into, as they are then.
type Broken = Arc<Mutex<HashMap<&'static str, &'static str>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_finds_every_bug_that_is_put_into_a_statement() {
    let mut away = Vec::new();
    for (what, statement, sound, bad, case) in BUGS {
        let broken = Broken::default();
        let failures = suite()
            .only(case)
            .failures_at_once(async || {
                let (broken, db) = (Arc::clone(&broken), migrated(Options::sqlite_in_memory()).await);
                let db = db.altered(move |sql| {
                    // So that what is sought can say where it ends.
                    let ended = format!("{sql};");
                    if !ended.contains(statement) || !ended.contains(sound) {
                        return sql;
                    }
                    let mut broken = broken.lock().unwrap();
                    broken.entry(sql).or_insert_with(|| ended.replace(sound, bad).leak())
                });
                Backend { store: Arc::new(SqlSessions::new(db)) }
            })
            .await;
        assert_eq!(broken.lock().unwrap().len(), 1, "{what}: is in no statement, or in several");
        if failures.is_empty() {
            away.push(what);
        }
        if let Some(syntax) = failures.iter().find(|failure| failure.contains("statement failed")) {
            panic!("{what}: {syntax}");
        }
    }
    assert!(away.is_empty(), "got away: {away:?}");
}

//! Promises of `program`.

use mainstay_testkit::program;

#[test]
fn a_program_in_the_path_is_found() {
    assert!(program("sh", "dash").is_file());
}

#[test]
#[should_panic(expected = "`no-such-program` is missing: install it with `apt-get install some-package`")]
fn a_missing_program_panics_with_the_command_that_installs_it() {
    let _ = program("no-such-program", "some-package");
}

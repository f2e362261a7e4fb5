//! What an error of the server means for the command and for the connection.

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command is at fault, or something in it was, or it is at the wrong server: the caller learns what this one
    /// said.
    Failed,
    /// Nothing was done, and later it may be.
    Refused(&'static str),
    /// The same, and this server is not the one to ask.
    Lost(&'static str),
}

/// Judges an error by its first word.
///
/// An error that refuses writes says that nothing was done also of a script, because all of these are decided before
/// its first write, and hold for all of it. Not so `NOPERM`, which is decided for each command of a script.
pub(crate) fn judge(code: &str, message: &str) -> Verdict {
    match in_script(code, message).unwrap_or(code) {
        "READONLY" => Verdict::Lost("the server answered READONLY"),
        "LOADING" => Verdict::Lost("the server answered LOADING"),
        "MASTERDOWN" => Verdict::Lost("the server answered MASTERDOWN"),
        "UNBLOCKED" => Verdict::Lost("the server answered UNBLOCKED"),
        // Of one slot, while others are served: the topology is asked anew, the connection stays.
        "CLUSTERDOWN" => Verdict::Refused(CLUSTER_DOWN),
        "BUSY" => Verdict::Refused("the server answered BUSY"),
        "MISCONF" => Verdict::Refused("the server answered MISCONF"),
        "NOREPLICAS" => Verdict::Refused("the server answered NOREPLICAS"),
        "OOM" => Verdict::Refused("the server answered OOM"),
        _ => Verdict::Failed,
    }
}

/// The reason of a [`CallError::NotSent`](crate::CallError::NotSent) that a fresh look at the topology may help.
pub(crate) const CLUSTER_DOWN: &str = "the server answered CLUSTERDOWN";

/// The word of an error that a script stopped at, as Redis before 7.0 wraps it:
/// `ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY You can't write …`.
fn in_script<'a>(code: &str, message: &'a str) -> Option<&'a str> {
    let wrapped = (code == "ERR" && message.starts_with("Error running script")).then_some(message)?;
    let (_, error) = wrapped.rsplit_once(": -")?;
    error.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_refuses_a_write_is_seen_through_the_script_that_it_stopped() {
        let message = "Error running script (call to f_9a): @user_script:1: @user_script: 1: -READONLY You can't \
                       write against a read only replica.";
        assert!(matches!(judge("ERR", message), Verdict::Lost(_)));
        assert!(matches!(
            judge("READONLY", "You can't write against a read only replica."),
            Verdict::Lost(_)
        ));
        assert!(matches!(judge("MISCONF", "Redis is configured to save"), Verdict::Refused(_)));
        assert_eq!(judge("NOPERM", "this user has no permissions"), Verdict::Failed);
        assert_eq!(judge("ERR", "value is not an integer: -READONLY"), Verdict::Failed);
    }
}

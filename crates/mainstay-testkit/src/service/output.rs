//! What a process has printed.

use std::io::{BufRead, BufReader, PipeReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::sync::watch;

/// The captured output of a process, growing as it prints.
#[derive(Debug, Clone)]
pub(super) struct Output(watch::Receiver<Captured>);

#[derive(Debug, Default)]
struct Captured {
    text: String,
    /// Every process that held the pipe has closed it.
    ended: bool,
}

impl Output {
    /// Reads `pipe` on a thread of its own: a process must never block on a full pipe because the
    /// test's runtime is busy. The thread ends with the pipe.
    pub(super) fn capture(pipe: PipeReader) -> Self {
        let (sender, receiver) = watch::channel(Captured::default());
        std::thread::spawn(move || {
            let mut lines = BufReader::new(pipe);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                sender.send_modify(|captured| captured.text += &String::from_utf8_lossy(&line));
                line.clear();
            }
            sender.send_modify(|captured| captured.ended = true);
        });
        Self(receiver)
    }

    /// Everything so far, in whole lines.
    pub(super) fn text(&self) -> String {
        self.0.borrow().text.clone()
    }

    /// Waits for the address the process announces; `None` if its output ends without one.
    pub(super) async fn address(&mut self) -> Option<SocketAddr> {
        let announced = self.0.wait_for(|captured| captured.ended || address(&captured.text).is_some());
        address(&announced.await.ok()?.text)
    }

    /// See [`Service::marked_line`](super::Service::marked_line).
    pub(super) async fn marked_line(&mut self, mark: &str, from: usize) -> Option<(String, usize)> {
        let find = |text: &str| {
            let mut end = from;
            text[from..].split_inclusive('\n').find_map(|line| {
                end += line.len();
                line.strip_prefix(mark).map(|line| (line.trim_end_matches('\n').to_owned(), end))
            })
        };
        let mut found = None;
        let said = self.0.wait_for(|captured| {
            found = find(&captured.text);
            captured.ended || found.is_some()
        });
        said.await.ok()?;
        found
    }

    /// Waits for the end of the output.
    pub(super) async fn end(&mut self) {
        // An error means that the reading thread is gone, and that is an end as well.
        let _ = self.0.wait_for(|captured| captured.ended).await;
    }
}

/// The first `http://address:port` on this machine, as a client would connect to it.
fn address(text: &str) -> Option<SocketAddr> {
    text.match_indices("http://").find_map(|(at, scheme)| {
        let rest = &text[at + scheme.len()..];
        let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !".:[]".contains(c)).unwrap_or(rest.len());
        let mut address: SocketAddr = rest[..end].trim_end_matches(['.', ':']).parse().ok()?;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        (address.ip().is_loopback() && address.port() != 0).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn the_address_is_found_in_a_banner_or_a_log_line() {
        for text in [
            "  user-service  http://127.0.0.1:4711\n",
            "\u{1b}[1mhttp://127.0.0.1:4711\u{1b}[0m\n",
            r#"{"message":"listening","url":"http://0.0.0.0:4711/docs"}"#,
            "tracing to http://10.0.0.7:4318, listening on http://127.0.0.1:4711.",
        ] {
            assert_eq!(address(text), Some(([127, 0, 0, 1], 4711).into()), "{text}");
        }
    }

    #[test]
    fn an_address_nobody_can_connect_to_is_not_taken() {
        for text in ["", "http://", "http://localhost", "http://127.0.0.1:0", "http://192.168.0.1:80"] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}

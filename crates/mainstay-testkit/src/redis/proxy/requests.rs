//! Where requests end in the bytes of a client.

/// Finds the ends of RESP requests (arrays of bulk strings, or a plain line) in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The header that has begun: `*2`, `$3`.
    line: Vec<u8>,
    /// Arguments of the current request that are still to come.
    args: usize,
    /// Bytes of the current argument that are still to come, with the line end.
    skip: usize,
}

impl Requests {
    /// How many of `bytes`, which follow what was fed before, belong to the current request; `true` if
    /// the request ends there. To be called again with the rest.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            let ended = if self.skip > 0 {
                let step = self.skip.min(bytes.len() - at);
                self.skip -= step;
                at += step;
                self.skip == 0 && self.argument_ended()
            } else {
                self.line.push(bytes[at]);
                at += 1;
                self.line.ends_with(b"\n") && self.line_ended()
            };
            if ended {
                return (at, true);
            }
        }
        (at, false)
    }

    fn argument_ended(&mut self) -> bool {
        self.args -= 1;
        self.args == 0
    }

    fn line_ended(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line).unwrap_or_default();
        if self.args > 0 {
            self.skip =
                text.trim_end().strip_prefix('$').and_then(|len| len.parse().ok()).unwrap_or(0_usize) + 2;
            return false;
        }
        self.args = text.trim_end().strip_prefix('*').and_then(|args| args.parse().ok()).unwrap_or(0);
        self.args == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;

    #[test]
    fn requests_end_where_they_end_however_they_are_split() {
        let requests: [&[u8]; 5] = [
            b"*1\r\n$4\r\nPING\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\n*\r\n$12\r\n*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n",
            b"*1\r\n$4\r\nPING\r\n",
        ];
        let all = requests.concat();
        let mut end = 0;
        let expected: Vec<usize> = requests.iter().map(|request| (end += request.len(), end).1).collect();
        for chunk in 1..=all.len() {
            let mut parser = Requests::default();
            let mut ends = Vec::new();
            let mut at = 0;
            for mut bytes in all.chunks(chunk) {
                while !bytes.is_empty() {
                    let (step, ended) = parser.advance(bytes);
                    at += step;
                    bytes = &bytes[step..];
                    if ended {
                        ends.push(at);
                    }
                }
            }
            assert_eq!(ends, expected, "in chunks of {chunk}");
        }
    }
}

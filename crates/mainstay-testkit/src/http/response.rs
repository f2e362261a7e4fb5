//! Reading a response.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A response, read to its end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case and values, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body; chunks are joined, compression is left as it is.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON, with the body.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {} {}", self.status, self.text()))
    }

    /// Reads one response; informational ones (1xx) before it are passed over. Framing as in
    /// RFC 9112, section 6.3.
    pub(super) async fn read(mut from: impl AsyncBufRead + Unpin, to_head: bool) -> io::Result<Self> {
        loop {
            let status = status(&line(&mut from).await?)?;
            let headers = headers(&mut from).await?;
            let mut response = Self { status, headers, body: Vec::new() };
            if status >= 200 {
                if !(to_head || matches!(status, 204 | 304)) {
                    response.read_body(from).await?;
                }
                return Ok(response);
            }
        }
    }

    async fn read_body(&mut self, mut from: impl AsyncBufRead + Unpin) -> io::Result<()> {
        let chunked =
            self.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if chunked {
            self.read_chunks(from).await
        } else if let Some(length) = self.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length", length))?;
            exactly(&mut from, length, &mut self.body).await
        } else {
            from.read_to_end(&mut self.body).await.map(drop)
        }
    }

    async fn read_chunks(&mut self, mut from: impl AsyncBufRead + Unpin) -> io::Result<()> {
        loop {
            let head = line(&mut from).await?;
            let size = head.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid("chunk size", &head))?;
            if size == 0 {
                return headers(&mut from).await.map(drop); // trailers
            }
            exactly(&mut from, size, &mut self.body).await?;
            let end = line(&mut from).await?;
            if !end.is_empty() {
                return Err(invalid("end of chunk", &end));
            }
        }
    }
}

fn status(line: &str) -> io::Result<u16> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| invalid("status line", line))
}

/// Header lines up to the empty one.
async fn headers(mut from: impl AsyncBufRead + Unpin) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = line(&mut from).await?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("header", &line))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// One line without its CRLF.
async fn line(mut from: impl AsyncBufRead + Unpin) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).await?;
    let text = line.strip_suffix(b"\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    String::from_utf8(text.to_vec()).map_err(|_| invalid("line", &String::from_utf8_lossy(text)))
}

/// Appends exactly `length` bytes.
async fn exactly(from: impl AsyncBufRead + Unpin, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length).read_to_end(body).await?;
    if read as u64 == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn invalid(what: &str, got: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a {what}: {got:?}"))
}

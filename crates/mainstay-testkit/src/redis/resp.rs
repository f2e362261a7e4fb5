//! As much of RESP2 as a test needs to give an order and read the answer.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For the answer to one command. A server that takes longer is frozen, or as good as.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Nil,
    Int(i64),
    Text(String),
    /// The whole line after the dash: `ERR unknown command`.
    Error(String),
    List(Vec<Reply>),
}

impl Display for Reply {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("(nil)"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
            Self::Error(line) => write!(f, "-{line}"),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "\n" };
                    write!(f, "{separator}{item}")?;
                }
                Ok(())
            }
        }
    }
}

impl Reply {
    /// The elements of a list; of anything else none.
    pub(super) fn into_list(self) -> Vec<Self> {
        if let Self::List(items) = self { items } else { Vec::new() }
    }

    /// A list that is name, value, name, value.
    pub(super) fn into_map(self) -> HashMap<String, String> {
        let items: Vec<String> = self.into_list().iter().map(Self::to_string).collect();
        items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}

/// One connection.
pub(super) struct Connection(BufStream<TcpStream>);

impl Connection {
    pub(super) async fn open(address: SocketAddr, password: Option<&str>) -> Result<Self, Error> {
        let stream = timeout(DEADLINE, TcpStream::connect(address)).await??;
        let mut connection = Self(BufStream::new(stream));
        if let Some(password) = password {
            connection.command(&["AUTH", password]).await?;
        }
        Ok(connection)
    }

    pub(super) async fn command(&mut self, args: &[&str]) -> Result<Reply, Error> {
        timeout(DEADLINE, async {
            let mut request = format!("*{}\r\n", args.len());
            for arg in args {
                request += &format!("${}\r\n{arg}\r\n", arg.len());
            }
            self.0.write_all(request.as_bytes()).await?;
            self.0.flush().await?;
            self.reply().await
        })
        .await?
    }

    async fn reply(&mut self) -> Result<Reply, Error> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let line = line.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let (kind, rest) = line.split_at_checked(1).ok_or(ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(|error| Error::new(ErrorKind::InvalidData, error));
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Int(number()?),
            "$" => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.0.read_exact(&mut bytes).await?;
                    Reply::Text(String::from_utf8_lossy(&bytes[..length]).into_owned())
                }
                Err(_) => Reply::Nil,
            },
            "*" => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut items = Vec::new();
                    for _ in 0..length {
                        items.push(Box::pin(self.reply()).await?);
                    }
                    Reply::List(items)
                }
                Err(_) => Reply::Nil,
            },
            _ => return Err(ErrorKind::InvalidData.into()),
        })
    }
}

/// Gives one order on a connection of its own.
pub(super) async fn ask(address: SocketAddr, password: Option<&str>, args: &[&str]) -> Result<Reply, Error> {
    Connection::open(address, password).await?.command(args).await
}

#[cfg(test)]
mod tests {
    use super::Reply;

    #[test]
    fn a_nested_answer_is_one_line_per_leaf() {
        let text = |text: &str| Reply::Text(text.to_owned());
        let reply = Reply::List(vec![
            text("a"),
            Reply::List(vec![Reply::Int(-7), Reply::Nil]),
            Reply::Error("ERR no".to_owned()),
        ]);
        assert_eq!(reply.to_string(), "a\n-7\n(nil)\n-ERR no");
    }
}

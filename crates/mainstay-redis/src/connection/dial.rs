//! From an address to a connection to a primary.

use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, RedisConnectionInfo, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use mainstay_core::secret::Secret;

use super::context::Context;
use super::refusal::Refusal;
use crate::{Address, Answer, CallError, Options};

/// Commands that can lie between those who send and the task that writes.
const QUEUE: usize = 1024;

/// A connection, and the task that reads and writes its bytes: dropping that closes it.
pub(crate) struct Dialled {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) driver: AbortOnDropHandle<()>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: String,
}

/// Who connects.
pub(crate) fn login(options: &Options) -> RedisConnectionInfo {
    login_as(options.username.as_ref(), options.password.as_ref()).set_db(i64::from(options.database))
}

pub(crate) fn login_as(user: Option<&String>, password: Option<&Secret<String>>) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    let login = user.into_iter().fold(login, |login, name| login.set_username(name));
    match (password, user) {
        (Some(password), _) => login.set_password(password.expose()),
        // Without one the client would not log in, and be the default user.
        (None, Some(_)) => login.set_password(""),
        (None, None) => login,
    }
}

/// Connects and logs in. `push` is called by the task that reads, in order with the answers: it must not block.
pub(crate) async fn dial(
    address: &Address,
    login: &RedisConnectionInfo,
    context: &Context,
    push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Dialled, Refusal> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    // No keepalive: every connection is asked for a sign of life each second.
    stream.set_nodelay(true)?;
    match context.tls.get().map_err(|why| Refusal::Tls(why.into()))? {
        None => speak(stream, login, push).await,
        Some(tls) => speak(tls.encrypt(stream, address).await?, login, push).await,
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    login: &RedisConnectionInfo,
    push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Dialled, Refusal> {
    let push = move |news: PushInfo| {
        push(news);
        Ok::<_, SendError>(())
    };
    // Deadlines are ours.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
        .set_push_sender(push);
    let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    Ok(Dialled { connection, driver: AbortOnDropHandle::new(tokio::spawn(driver)) })
}

/// Asks a server to be a primary that answers, of a version that will do.
///
/// `HELLO` tells role and version to every user; `ROLE` would need a right of its own. It does not say whether the
/// server still reads its data: a script is refused then, and needs no key.
pub(crate) async fn greet(connection: &mut MultiplexedConnection, name: &str) -> Result<Hello, Refusal> {
    let mut hello = redis::cmd("HELLO");
    hello.arg("3");
    if !name.is_empty() {
        hello.arg("SETNAME").arg(name);
    }
    let fields = ask(connection, &hello).await?;
    let field = |name: &str| field(&fields, name);
    let version = field("version").ok_or_else(|| Refusal::Unexpected("no version".into()))?;
    if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default() < 6 {
        return Err(Refusal::TooOld(version.into()));
    }
    must_be_primary(&fields)?;
    let version = version.to_owned();
    ask(connection, redis::cmd("EVAL").arg("return 1").arg(0)).await?;
    Ok(Hello { version })
}

/// By the answer to `HELLO`.
pub(crate) fn must_be_primary(hello: &Answer) -> Result<(), Refusal> {
    match field(hello, "role") {
        Some("master") => Ok(()),
        role => Err(Refusal::Role(role.unwrap_or("server without a role").into())),
    }
}

pub(crate) async fn ask(
    connection: &mut MultiplexedConnection,
    words: &redis::Cmd,
) -> Result<Answer, Refusal> {
    answer(connection.send_packed_command(words).await?)
}

pub(crate) fn answer(value: Value) -> Result<Answer, Refusal> {
    Answer::of(value).map_err(|error| match error {
        CallError::Rejected { code, message } => Refusal::answered(&code, &message),
        other => Refusal::Unexpected(other.to_string().into()),
    })
}

/// A value of a map, which is a flat list here.
fn field<'a>(fields: &'a Answer, name: &str) -> Option<&'a str> {
    let Answer::List(fields) = fields else { return None };
    fields.chunks_exact(2).find(|pair| pair[0].text() == Ok(name)).and_then(|pair| pair[1].text().ok())
}

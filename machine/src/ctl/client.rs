//! The client's end of the control socket: what `trine ctl` does.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use super::{Answer, Order};

/// How an order ended for who gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done; this is to be printed.
    Done(String),
    /// What was waited for did not come.
    TimedOut(String),
}

/// Gives an order at the socket at `path`, and waits for the answer.
///
/// # Errors
/// One line: there is no machine there, it has gone, or why it does not do it.
pub fn send(path: &Path, order: &Order) -> Result<Outcome, String> {
    let nobody = |e: io::Error| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("{}: no machine listens there ({e})", path.display())
        }
        _ => format!("{}: {e}", path.display()),
    };
    let mut socket = UnixStream::connect(path).map_err(nobody)?;
    let mut line =
        serde_json::to_string(order).map_err(|e| format!("the order is no JSON: {e}"))?;
    line.push('\n');
    let mut answer = String::new();
    let heard = socket
        .write_all(line.as_bytes())
        .and_then(|()| BufReader::new(socket).read_line(&mut answer));
    if heard.map_err(nobody)? == 0 {
        return Err("the machine ended, or has too many clients".into());
    }
    let answer: Answer =
        serde_json::from_str(&answer).map_err(|e| format!("the answer makes no sense: {e}"))?;
    match answer {
        Answer::Done => Ok(Outcome::Done(String::new())),
        Answer::Text { lines } => Ok(Outcome::Done(lines.join("\n") + "\n")),
        Answer::Status(status) => Ok(Outcome::Done(status.to_string())),
        Answer::TimedOut { why } => Ok(Outcome::TimedOut(why)),
        Answer::Refused { why } => Err(why),
    }
}

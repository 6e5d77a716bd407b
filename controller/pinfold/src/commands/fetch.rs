//! `pinfold fetch`: the child that the daemon kills at its deadline.

use super::CommandError;
use crate::exit::Exit;
use crate::source::fetch_child;

pub(super) fn run() -> Result<Exit, CommandError> {
    let done = fetch_child(std::io::stdin().lock(), std::io::stdout().lock());
    let done = done.map_err(|error| CommandError::new("the fetch could not talk to the daemon").because(&error))?;
    Ok(if done { Exit::Ok } else { Exit::Negative })
}

//! `pinfold console`.

use super::{CommandError, output};
use crate::cli::{Console, ConsoleOutput};
use crate::console::attach::{AttachError, Finish, Wish, attach};
use crate::exit::Exit;

pub(super) fn run(arguments: &Console) -> Result<Exit, CommandError> {
    let (kind, name) = output::object(&arguments.object)?;
    let object = format!("{}/{name}", kind.short());
    let force = if arguments.force { "?force=true" } else { "" };
    let wish = Wish {
        path: format!("/v1/console/{}/{}{force}", kind.short(), output::path_part(&name)),
        object,
        escape: arguments.escape,
        once: arguments.once,
        stay: arguments.stay,
        json: arguments.output == ConsoleOutput::Json,
    };
    match attach(&arguments.socket.socket, &wish) {
        Ok(Finish::Left | Finish::Done) => Ok(Exit::Ok),
        Ok(Finish::Taken) => Ok(Exit::Negative),
        Err(AttachError::Client(error)) => Err(error.into()),
        Err(error @ AttachError::System { .. }) => Err(CommandError::from_error(&error)),
    }
}

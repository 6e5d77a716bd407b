//! How a command fails: what, where, why, and what to do next.

use crate::api::client::ClientError;
use crate::exit::Exit;
use owo_colors::OwoColorize;
use std::error::Error;
use std::fmt::Write as _;

/// A failure with everything its reader needs. Printed once, where the program ends.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    what: String,
    why: Vec<String>,
    next: Option<String>,
}

impl CommandError {
    /// What failed.
    pub fn new(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unable, what: what.into(), why: Vec::new(), next: None }
    }

    /// An error of a lower layer, with its whole chain.
    pub fn from_error(error: &dyn Error) -> Self {
        let mut why = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            why.push(cause.to_string());
            source = cause.source();
        }
        Self { why, ..Self::new(error.to_string()) }
    }

    /// Adds why.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let Self { what, why, .. } = Self::from_error(error);
        self.why.push(what);
        self.why.extend(why);
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Ends with another code than [`Exit::Unable`].
    #[must_use]
    pub fn exits(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The text for standard error.
    pub fn text(&self) -> String {
        let mut text = format!("{} {}\n", "error:".red().bold(), self.what);
        for why in &self.why {
            let _ = writeln!(text, "  because: {why}");
        }
        if let Some(next) = &self.next {
            let _ = writeln!(text, "  {} {next}", "help:".bold());
        }
        text
    }
}

impl From<ClientError> for CommandError {
    fn from(error: ClientError) -> Self {
        let failed = Self::from_error(&error);
        match &error {
            ClientError::Forbidden { .. } => failed.next("join that group, or run this as root"),
            ClientError::Connect { .. } => failed
                .next("start it with `systemctl start pinfold`, or give its socket with `--socket` or PINFOLD_SOCKET"),
            ClientError::NotFound(_) => failed.exits(Exit::Negative),
            ClientError::Deadline { .. } => failed.next("see `journalctl -u pinfold`"),
            ClientError::Broken { .. } | ClientError::Unreadable(_) | ClientError::Refused(_) => failed,
        }
    }
}

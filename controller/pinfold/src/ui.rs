//! The one seam to the terminal. Standard output is data, standard error is talk.
//!
//! Colours are stripped when the stream is no terminal or `NO_COLOR` is set (anstream). A reader that went away (`| head`) is no error.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

/// Anything that takes longer than this says so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a command writes to.
pub struct Ui {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    colour: bool,
    /// Somebody watches standard error, so that progress is worth showing.
    watched: bool,
    /// The reader of our data went away.
    unread: bool,
}

impl Ui {
    /// The process's own streams.
    pub fn terminal() -> Self {
        let out = anstream::stdout();
        let colour = out.current_choice() != anstream::ColorChoice::Never;
        Self {
            out: Box::new(out),
            err: Box::new(anstream::stderr()),
            colour,
            watched: io::stderr().is_terminal(),
            unread: false,
        }
    }

    /// Whether colours reach a reader: for renderers that decide themselves.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Whether data goes to a terminal, which can be written anew.
    #[allow(clippy::unused_self, reason = "whoever has no Ui writes nothing")]
    pub fn is_screen(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes data.
    pub fn data(&mut self, text: &str) {
        self.unread |= write_all(&mut self.out, text).is_err();
    }

    /// Whether whoever read our data went away: nothing that goes on for ever should.
    pub fn is_unread(&self) -> bool {
        self.unread
    }

    /// Writes data and ends the line.
    pub fn line(&mut self, text: &str) {
        self.data(text);
        self.data("\n");
    }

    /// Writes a line of talk.
    pub fn talk(&mut self, text: &str) {
        // Nobody is left to be told that the reader of our talk went away.
        let _ = write_all(&mut self.err, text).and_then(|()| write_all(&mut self.err, "\n"));
    }

    /// Says what is waited for, as soon as it takes long; until the answer is dropped.
    pub fn progress(&self, what: &str) -> Progress {
        Progress::start(what, self.watched)
    }
}

fn write_all(stream: &mut Box<dyn Write>, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush())
}

/// Tells on standard error that something is waited for; stops when dropped.
pub struct Progress {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    fn start(what: &str, watched: bool) -> Self {
        if !watched {
            return Self { done: None, thread: None };
        }
        let (done, wait) = mpsc::channel();
        let what = what.to_owned();
        let thread = std::thread::spawn(move || {
            let mut seconds = PATIENCE.as_secs();
            let mut shown = false;
            while wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = write!(anstream::stderr(), "\r{what} … {seconds} s");
                seconds += PATIENCE.as_secs();
                shown = true;
            }
            if shown {
                let _ = writeln!(anstream::stderr());
            }
        });
        Self { done: Some(done), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

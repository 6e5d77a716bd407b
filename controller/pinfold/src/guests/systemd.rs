//! What systemd says about the host.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// systemd answers from memory; one that is silent is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the host is on its way down. Where systemd cannot be asked, nobody says so.
pub(super) fn goes_down() -> bool {
    // It exits with 1 for every state but `running`.
    state().is_some_and(|state| state.trim() == "stopping")
}

fn state() -> Option<String> {
    let mut command = Command::new("systemctl");
    command.arg("is-system-running").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let until = Instant::now() + PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= until {
            // Gone already, or not: nothing depends on it.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().ok()?;
    String::from_utf8(output.stdout).ok()
}

//! Commands in dom0 over ssh, on one kept connection.
//!
//! The lab's folder holds an ssh configuration, so `ssh -F FOLDER/ssh_config lab` works by hand too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{quote, run_within};
use crate::patience::Patience;
use crate::{LabError, Output};

/// Ends a command's output and separates its exit status; ASCII's record separator.
const SEPARATOR: char = '\x1e';

/// The way into one lab's dom0.
#[derive(Debug)]
pub(crate) struct Channel {
    config: PathBuf,
}

/// Why a command's outcome is not known.
pub(crate) enum Silence {
    Deadline,
    Broken(String),
    Local(LabError),
}

impl Channel {
    /// Makes this lab's key and lets it in through the shared folder.
    pub(crate) fn create(folder: &Path, share: &Path, image: &Path) -> Result<Self, LabError> {
        let key = folder.join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
            .arg(&key)
            .stdin(Stdio::null())
            .output()
            .map_err(LabError::io("running ssh-keygen"))?;
        if !made.status.success() {
            let words = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(LabError::Io {
                doing: "making the lab's ssh key".into(),
                source: std::io::Error::other(words),
            });
        }
        fs::copy(folder.join("key.pub"), share.join(".authorized_keys"))
            .map_err(LabError::io("letting the lab's key in"))?;
        fs::copy(image.join("known_hosts"), folder.join("known_hosts"))
            .map_err(LabError::io("copying the lab's host key"))?;
        Ok(Self { config: folder.join("ssh_config") })
    }

    /// Points the channel at the port that QEMU forwards.
    pub(crate) fn set_port(&self, port: u16) -> Result<(), LabError> {
        let folder = self.config.parent().unwrap_or(Path::new("/")).display();
        let config = format!(
            "Host lab\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  HostKeyAlias lab\n  IdentityFile {folder}/key\n  \
             IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n  ControlPath {folder}/ssh\n  ConnectTimeout 60\n  \
             ServerAliveInterval 30\n  ServerAliveCountMax 10\n  LogLevel ERROR\n"
        );
        fs::write(&self.config, config).map_err(LabError::io("writing the lab's ssh configuration"))
    }

    /// ssh to dom0, for commands that go their own way.
    pub(crate) fn ssh(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&self.config);
        ssh
    }

    /// Makes the connection that later commands share. `Err` holds ssh's words.
    pub(crate) fn connect(&self) -> Result<(), String> {
        // Left over if the machine was reset under the connection.
        let _ = self.ssh().args(["-O", "exit", "lab"]).stdin(Stdio::null()).output();
        let log = self.config.with_file_name("ssh.log");
        let _ = fs::remove_file(&log);
        let mut ssh = Command::new("timeout");
        ssh.args(["180", "ssh", "-F"]).arg(&self.config);
        // Its output goes to a file: the connection stays in the background and would hold a pipe open.
        ssh.arg("-E").arg(&log).args(["-o", "ControlMaster=yes", "-o", "ControlPersist=yes", "-f", "-N", "lab"]);
        let status = ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(fs::read_to_string(&log).unwrap_or_default().trim().to_owned()),
            Err(error) => Err(format!("ssh: {error}")),
        }
    }

    /// Runs a command by dom0's `sh`. Its exit status comes in band: ssh's own 255 could be the command's.
    pub(crate) fn sh(&self, command: &str, deadline: &Patience) -> Result<Output, Silence> {
        let remote = format!("sh -c {}; printf '\\036%s' $?", quote(command));
        let mut ssh = self.ssh();
        ssh.args(["-o", "ControlMaster=no", "lab", "--", &remote]);
        let printed = run_within(&mut ssh, deadline)
            .map_err(|source| Silence::Local(LabError::Io { doing: "running ssh".into(), source }))?
            .ok_or(Silence::Deadline)?;
        let stdout = String::from_utf8_lossy(&printed.stdout);
        let stderr = String::from_utf8_lossy(&printed.stderr);
        let (printed, code) = stdout.rsplit_once(SEPARATOR).unwrap_or((&stdout, ""));
        match code.parse() {
            Ok(code) => Ok(Output { command: command.into(), code, stdout: printed.into(), stderr: stderr.into() }),
            Err(_) => Err(Silence::Broken(format!("{stdout}{stderr}").trim().to_owned())),
        }
    }
}

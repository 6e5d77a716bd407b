//! The configuration repository: bare in dom0, behind dom0's own sshd, so that the daemon fetches over a real transport. Commits are made
//! in a clone of it, as a person would.

use crate::Rig;
use anyhow::Result;
use lab::QUICK_LINUX;
use std::path::Path;

/// What the daemon is told to follow.
pub(crate) const URL: &str = "ssh://root@127.0.0.1/srv/config.git";

/// One edit of a commit.
pub enum Change<'a> {
    /// Writes a file.
    Write(&'a str, &'a str),
    /// Removes a file.
    Remove(&'a str),
    /// Replaces text in a file; the text must be there.
    Replace(&'a str, &'a str, &'a str),
    /// Takes over a folder of this machine, whole.
    Folder(&'a Path),
}

impl Rig {
    /// Keys, known hosts, an empty bare repository and a clone.
    pub(crate) fn make_repository(&self) -> Result<()> {
        self.lab.run(
            "set -e\n\
             mkdir -p /etc/pinfold /srv/disks /root/.ssh\n\
             test -e /etc/pinfold/key || ssh-keygen -q -t ed25519 -N '' -f /etc/pinfold/key\n\
             cat /etc/pinfold/key.pub >> /root/.ssh/authorized_keys\n\
             echo \"127.0.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub)\" > /etc/pinfold/known_hosts\n\
             git config --global user.name Alice; git config --global user.email alice@example.org\n\
             git config --global init.defaultBranch main; git config --global advice.detachedHead false\n\
             git init -q --bare /srv/config.git\n\
             git clone -q /srv/config.git /root/config 2>/dev/null",
        )?;
        Ok(())
    }

    /// Commits and pushes; answers the commit's full id. The daemon is told to look, as a webhook would. Guests boot with [`QUICK_LINUX`],
    /// but for those in files with PVH guests, which were not tried with it.
    pub fn commit(&self, message: &str, changes: &[Change<'_>]) -> Result<String> {
        self.edit(changes)?;
        let quoted = message.replace('\'', "'\\''");
        let quickly = format!("s/console=hvc0\\( {QUICK_LINUX}\\)\\?/console=hvc0 {QUICK_LINUX}/");
        let id = self.lab.run(&format!(
            "cd /root/config && (grep -rL --include='*.yaml' 'type: pvh' . | xargs -r sed -i '{quickly}') && git add -A && git commit -q --allow-empty -m '{quoted}' && git push -q origin HEAD:main && git rev-parse HEAD"
        ))?;
        self.pinfold("sync")?;
        Ok(id.trim().to_owned())
    }

    /// Edits the clone and commits nothing.
    pub fn edit(&self, changes: &[Change<'_>]) -> Result<()> {
        changes.iter().try_for_each(|change| self.edit_one(change))
    }

    fn edit_one(&self, change: &Change<'_>) -> Result<()> {
        match change {
            Change::Write(path, text) => self.write(&format!("/root/config/{path}"), text),
            Change::Remove(path) => {
                self.lab.run(&format!("rm -r /root/config/{path}"))?;
                Ok(())
            }
            Change::Replace(path, from, to) => {
                let path = format!("/root/config/{path}");
                let text = self.lab.run(&format!("cat {path}"))?;
                anyhow::ensure!(text.contains(from), "{path} does not hold `{from}`:\n{text}");
                self.write(&path, &text.replace(from, to))
            }
            Change::Folder(folder) => Ok(self.lab.copy_in(folder, "/root/config")?),
        }
    }
}

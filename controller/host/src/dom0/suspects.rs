//! Who could have changed something on the host beside pinfold: what other programs speak to Xen, and who is logged in, at one moment.
//!
//! Xen writes down nobody's name, and an `xl` of a second is gone before anybody looks: these are the ones to ask, not the culprits. Command lines
//! are not told, since they may hold secrets; of `xl` and `virsh` the subcommand is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Files through which a program speaks to the hypervisor (Linux, drivers/xen/privcmd.c and xenbus_dev_frontend.c).
const DOORS: [&str; 4] = ["/dev/xen/privcmd", "/proc/xen/privcmd", "/dev/xen/xenbus", "/proc/xen/xenbus"];

/// Programs that belong to Xen itself or to pinfold: they change nothing by themselves.
const OUR_OWN: [&str; 6] = ["pinfold", "pinfold-xen", "xenstored", "oxenstored", "xenconsoled", "xen-init-dom0"];

/// In the name of every device model; Debian's is `xen-qemu-system-i386`, of which the kernel keeps fifteen letters.
const DEVICE_MODEL: &str = "qemu-system";

/// Clients of the hypervisor whose subcommand says what they do.
const SPEAKING: [&str; 2] = ["xl", "virsh"];

/// Most that are told.
const MOST: usize = 8;

/// Who is there now. What cannot be read is nobody.
pub(crate) fn suspects(root: &Path) -> Vec<String> {
    let mut found: BTreeSet<String> = programs(&root.join("proc"));
    found.extend(sessions(&root.join("run/systemd/sessions")));
    found.into_iter().take(MOST).collect()
}

fn programs(proc: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| program(&entry.path(), entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// A program other than Xen's own that has the hypervisor open.
fn program(process: &Path, pid: u32) -> Option<String> {
    let name = fs::read_to_string(process.join("comm")).ok()?;
    let name = name.trim();
    if pid == std::process::id() || OUR_OWN.contains(&name) || name.contains(DEVICE_MODEL) {
        return None;
    }
    let is_door = |target: &Path| DOORS.iter().any(|door| target == Path::new(door));
    let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
    let speaks = files.any(|file| fs::read_link(file.path()).is_ok_and(|target| is_door(&target)));
    speaks.then(|| match SPEAKING.contains(&name).then(|| subcommand(process)).flatten() {
        Some(subcommand) => format!("`{name} {subcommand}` (pid {pid})"),
        None => format!("{name} (pid {pid})"),
    })
}

/// The first argument, when it is a plain word.
fn subcommand(process: &Path) -> Option<String> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let word = std::str::from_utf8(line.split(|byte| *byte == 0).nth(1)?).ok()?;
    let is_plain = word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.len() <= 32
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    is_plain.then(|| word.to_owned())
}

/// People who are logged in, as systemd-logind writes them down (sd-login(3), /run/systemd/sessions).
fn sessions(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| session(&fs::read_to_string(entry.path()).ok()?)).collect()
}

fn session(text: &str) -> Option<String> {
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"')).filter(|value| !value.is_empty())
    };
    if value("CLASS").is_some_and(|class| class != "user") || value("STATE") == Some("closing") {
        return None;
    }
    let (user, part) = (value("USER")?, |word, value: Option<&str>| value.map(|value| format!(" {word} {value}")));
    let (on, from) = (part("on", value("TTY")), part("from", value("REMOTE_HOST")));
    Some(format!("{user}{}{}", on.unwrap_or_default(), from.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn programs_that_have_the_hypervisor_open_and_people_are_told_without_their_arguments() {
        let root = tempfile::tempdir().unwrap();
        let process = |pid: &str, name: &str, line: &[u8], door: &str| {
            let folder = root.path().join("proc").join(pid);
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("cmdline"), line).unwrap();
            symlink(door, folder.join("fd/3")).unwrap();
        };
        process("20", "xl", b"xl\0vcpu-pin\0erp-db\0all\0all\0", "/dev/xen/privcmd");
        process("21", "xl", b"xl\0/etc/xen/erp.cfg\0vncpasswd=geheim\0", "/dev/xen/privcmd");
        process("22", "xenconsoled", b"xenconsoled\0", "/dev/xen/privcmd");
        process("23", "libvirtd", b"libvirtd\0--password\0geheim\0", "/proc/xen/privcmd");
        process("25", "xen-qemu-system", b"/usr/libexec/xen-qemu-system-i386\0", "/dev/xen/privcmd");
        process("24", "bash", b"bash\0", "/dev/null");
        let sessions = root.path().join("run/systemd/sessions");
        fs::create_dir_all(&sessions).unwrap();
        fs::write(
            sessions.join("4"),
            "UID=1000\nUSER=ada\nSTATE=active\nCLASS=user\nTTY=pts/0\nREMOTE_HOST=192.0.2.7\n",
        )
        .unwrap();
        fs::write(sessions.join("5"), "UID=109\nUSER=gdm\nSTATE=online\nCLASS=greeter\n").unwrap();
        assert_eq!(
            suspects(root.path()),
            ["`xl vcpu-pin` (pid 20)", "ada on pts/0 from 192.0.2.7", "libvirtd (pid 23)", "xl (pid 21)",]
        );
        assert_eq!(super::suspects(&root.path().join("nothing")), Vec::<String>::new());
    }
}

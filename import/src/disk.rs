//! One disk of xl: positional or by name, with the prefixes that xl calls deprecated (xl-disk-configuration(5), tried out against `xlu_disk_parse`).

/// A disk as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Path in dom0, or what `script` makes of it.
    pub(crate) target: Option<String>,
    /// `raw` unless it says otherwise.
    pub(crate) format: Option<String>,
    pub(crate) vdev: Option<String>,
    pub(crate) read_only: Option<bool>,
    pub(crate) cdrom: bool,
    /// Domain that serves it.
    pub(crate) backend: Option<String>,
    pub(crate) backend_type: Option<String>,
    /// Hotplug script.
    pub(crate) script: Option<String>,
    /// Words and settings that need nothing but being known: `discard`, `direct-io-safe`, `specification` and so on.
    pub(crate) others: Vec<String>,
}

/// Parameters by position.
const POSITIONS: [&str; 4] = ["target", "format", "vdev", "access"];
/// Prefixes that name a backend; libxl chooses it by itself.
const BACKENDS: [&str; 5] = ["phy:", "file:", "aio:", "tap2:", "tap:"];
const FORMATS: [&str; 6] = ["raw", "qcow2", "qcow", "vhd", "qed", "empty"];
/// Prefixes for which libxl runs a script of that name.
const SCRIPTS: [&str; 4] = ["iscsi:", "drbd:", "nbd:", "enbd:"];

/// Reads one disk; the error says why it is none.
pub(crate) fn parse(text: &str) -> Result<Disk, String> {
    let mut disk = Disk::default();
    let mut given = [false; 4];
    let mut rest = prefixes(text.trim_start(), &mut disk, &mut given);
    let has_prefix = rest.len() != text.trim_start().len();
    loop {
        rest = rest.trim_start();
        if let Some(target) = rest.strip_prefix("target=") {
            // Everything behind it, commas too.
            disk.target = Some(target.to_owned());
            break;
        }
        let (parameter, more) = rest.split_once(',').map_or((rest, None), |(parameter, more)| (parameter, Some(more)));
        set(&mut disk, &mut given, parameter, has_prefix)?;
        let Some(more) = more else { break };
        rest = more;
    }
    if disk.vdev.is_none() {
        return Err("it names no device for the guest, such as `xvda`".to_owned());
    }
    Ok(disk)
}

fn prefixes<'t>(text: &'t str, disk: &mut Disk, given: &mut [bool; 4]) -> &'t str {
    let mut rest = text;
    loop {
        if let Some(after) = BACKENDS.iter().find_map(|prefix| rest.strip_prefix(prefix)) {
            rest = after;
        } else if let Some((format, after)) =
            FORMATS.iter().find_map(|format| Some((*format, rest.strip_prefix(format)?.strip_prefix(':')?)))
        {
            disk.format = Some(format.to_owned());
            rest = after;
        } else if let Some((script, after)) =
            SCRIPTS.iter().find_map(|prefix| Some((*prefix, rest.strip_prefix(prefix)?)))
        {
            disk.script = Some(format!("block-{}", script.trim_end_matches(':')));
            rest = after;
        } else {
            break;
        }
        // A prefix takes the place of the format: the device comes next.
        given[1] = true;
    }
    rest
}

fn set(disk: &mut Disk, given: &mut [bool; 4], parameter: &str, has_prefix: bool) -> Result<(), String> {
    if let Some((name, value)) = parameter.split_once('=') {
        if let Some(position) = POSITIONS.iter().position(|known| *known == name) {
            return set_position(disk, given, position, value, has_prefix);
        }
        let value = value.to_owned();
        match name {
            "devtype" => disk.cdrom = is_cdrom(&value)?,
            "backend" => disk.backend = Some(value),
            "backendtype" => disk.backend_type = Some(value),
            "script" => disk.script = Some(value),
            "specification" | "transport" => disk.others.push(parameter.to_owned()),
            _ => return Err(format!("xl knows no parameter `{name}`")),
        }
        return Ok(());
    }
    match parameter {
        "cdrom" => disk.cdrom = true,
        "direct-io-safe" | "discard" | "no-discard" | "colo" => disk.others.push(parameter.to_owned()),
        _ => match given.iter().position(|given| !given) {
            Some(position) => set_position(disk, given, position, parameter, has_prefix)?,
            None if parameter.is_empty() => {}
            None => return Err(format!("xl knows no parameter `{parameter}`")),
        },
    }
    Ok(())
}

fn set_position(
    disk: &mut Disk,
    given: &mut [bool; 4],
    position: usize,
    value: &str,
    has_prefix: bool,
) -> Result<(), String> {
    if std::mem::replace(&mut given[position], true) && !value.is_empty() {
        return Err(format!("it gives `{}` twice", POSITIONS[position]));
    }
    if value.is_empty() {
        return Ok(());
    }
    match position {
        0 => disk.target = Some(value.trim_end().to_owned()),
        1 if FORMATS.contains(&value) => disk.format = Some(value.to_owned()),
        1 => return Err(format!("`{value}` is no format of a disk")),
        2 => {
            // `hdc:cdrom` goes with the prefixes.
            let (vdev, kind) = value.split_once(':').filter(|_| has_prefix).unwrap_or((value, "disk"));
            disk.cdrom |= is_cdrom(kind)?;
            disk.vdev = Some(vdev.trim_end().to_owned());
        }
        _ => {
            disk.read_only = Some(match value {
                "r" | "ro" => true,
                "w" | "rw" => false,
                _ => return Err(format!("`{value}` is no access: `r`, `ro`, `w` or `rw`")),
            });
        }
    }
    Ok(())
}

fn is_cdrom(kind: &str) -> Result<bool, String> {
    match kind {
        "cdrom" => Ok(true),
        "disk" => Ok(false),
        _ => Err(format!("`{kind}` is no type of a device")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(text: &str) -> String {
        match parse(text) {
            Ok(disk) => {
                let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let read_only = disk.read_only.map_or("-", |read_only| if read_only { "ro" } else { "rw" });
                let cdrom = if disk.cdrom { " cdrom" } else { "" };
                let script = disk.script.map(|script| format!(" script={script}")).unwrap_or_default();
                format!("{} {} {} {read_only}{cdrom}{script}", text(disk.target), text(disk.format), text(disk.vdev))
            }
            Err(why) => why,
        }
    }

    /// Inputs and results of `xlu_disk_parse` of Xen 4.17.
    #[test]
    fn every_spelling() {
        for (text, disk) in [
            ("/dev/vg/g,,hda", "/dev/vg/g - hda -"),
            ("/dev/vg/g,raw,hda,rw", "/dev/vg/g raw hda rw"),
            ("format=raw, vdev=hda, access=rw, target=/dev/vg/g", "/dev/vg/g raw hda rw"),
            ("raw:/dev/vg/g,hda,w", "/dev/vg/g raw hda rw"),
            ("phy:/dev/vg/g,xvda,w", "/dev/vg/g - xvda rw"),
            ("file:/a/b.img,xvda,r", "/a/b.img - xvda ro"),
            ("tap:aio:/a/b,xvda,w", "/a/b - xvda rw"),
            ("tap2:qcow2:/a,xvda,w", "/a qcow2 xvda rw"),
            ("/root/i.iso,,hdc,cdrom", "/root/i.iso - hdc - cdrom"),
            ("/root/i.iso,,hdc,,cdrom", "/root/i.iso - hdc - cdrom"),
            ("phy:/a,hdc:cdrom,r", "/a - hdc ro cdrom"),
            (",,hdc,cdrom", "- - hdc - cdrom"),
            ("/a, raw, xvda , ro", "/a raw xvda ro"),
            ("vdev=xvda,target=/a,b", "/a,b - xvda -"),
            ("/a,vdev=xvda", "/a - xvda -"),
            ("/a:b,raw,xvda,rw", "/a:b raw xvda rw"),
            ("access=ro,/a,raw,xvda", "/a raw xvda ro"),
            ("drbd:r0,xvda,w", "r0 - xvda rw script=block-drbd"),
            ("xvda", "it names no device for the guest, such as `xvda`"),
            ("/a,xvda,w", "`xvda` is no format of a disk"),
            ("/a,raw,xvda,bogus", "`bogus` is no access: `r`, `ro`, `w` or `rw`"),
            ("/a,raw,xvda,rw,bogus=1", "xl knows no parameter `bogus`"),
            ("/a,RAW,xvda", "`RAW` is no format of a disk"),
            ("target=/a,vdev=xvda", "it names no device for the guest, such as `xvda`"),
        ] {
            assert_eq!(check(text), disk, "of {text}");
        }
    }
}

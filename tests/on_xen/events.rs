//! A scenario's host and its events, made real: by `xl` and the shell in dom0, and on the guests' own consoles.

use crate::player::Player;
use anyhow::{Result, bail, ensure};
use lab::QUICK_LINUX;
use protocol::{Cdrom, DomainKind, ShutdownReason, Toolstack};
use sim::{Event, File, ForeignDomain, HostFile};
use std::fmt::Write as _;

/// Files, bridges, and the cpupools and domains of others.
pub(crate) fn make_real(player: &mut Player, host: &HostFile) -> Result<()> {
    for (path, file) in &host.files {
        put(player, path, Some(file))?;
    }
    make_bridges(player)?;
    for pool in &host.cpupools {
        ensure!(!pool.autostart, "nothing in the lab makes a cpupool at each boot");
        happen(player, &Event::CpupoolCreate { name: pool.name.clone(), cpus: pool.cpus.clone() })?;
    }
    for domain in &host.domains {
        create(player, domain)?;
    }
    Ok(())
}

/// Makes the bridges that are not there: after each boot of the host.
pub(crate) fn make_bridges(player: &Player) -> Result<()> {
    for bridge in &player.bridges {
        player.run(&format!(
            "[ -e /sys/class/net/{bridge} ] || ip link add {bridge} type bridge; ip link set {bridge} up"
        ))?;
    }
    Ok(())
}

/// Lets an event happen. `xl` may refuse it, as the simulator may.
pub(crate) fn happen(player: &mut Player, event: &Event) -> Result<()> {
    match event {
        Event::GuestEnds { domain, how } => return guest_ends(player, domain, *how),
        Event::Create { domain, raced: false } => return create(player, domain),
        Event::File { path, file } => return put(player, path, file.as_ref()),
        Event::BridgeAdded { bridge } => {
            player.bridges.insert(bridge.clone());
            return make_bridges(player);
        }
        Event::XenstoredLost => {
            player.run("kill -9 $(pidof oxenstored xenstored)")?;
            player.has_xenstore = false;
            return Ok(());
        }
        _ => {}
    }
    let Some(command) = xl(event) else { bail!("real Xen does not do {event:?} on order") };
    // What is refused shows at the end: nothing has changed.
    player.rig.lab.sh(&command).map(drop)?;
    Ok(())
}

/// The `xl` command that is this event.
fn xl(event: &Event) -> Option<String> {
    Some(match event {
        Event::VcpuPin { domain, vcpu, hard } => {
            let vcpu = vcpu.map_or_else(|| "all".to_owned(), |vcpu| vcpu.to_string());
            format!("xl vcpu-pin {domain} {vcpu} {hard}")
        }
        Event::SchedSet { domain, weight, cap } => format!("xl sched-credit2 -d {domain} -w {weight} -c {cap}"),
        Event::MemSet { domain, memory_kib } => format!("xl mem-set {domain} {memory_kib}k"),
        Event::VcpuSet { domain, online } => format!("xl vcpu-set {domain} {online}"),
        Event::Pause { domain } => format!("xl pause {domain}"),
        Event::Unpause { domain } => format!("xl unpause {domain}"),
        Event::Destroy { domain } => format!("xl destroy {domain}"),
        Event::Shutdown { domain } => format!("xl shutdown {domain}"),
        Event::Rename { domain, name } => format!("xl rename {domain} {name}"),
        Event::SaveAndRestore { domain } => {
            format!("xl save {domain} /srv/{domain}.save && xl restore /srv/{domain}.save")
        }
        Event::BlockAttach { domain, device, path } => {
            format!("xl block-attach {domain} 'format=raw, vdev={device}, access=rw, target={path}'")
        }
        Event::BlockDetach { domain, device } => format!("xl block-detach {domain} {device}"),
        Event::CdInsert { domain, device, path: Some(path) } => format!("xl cd-insert {domain} {device} {path}"),
        Event::CdInsert { domain, device, path: None } => format!("xl cd-eject {domain} {device}"),
        Event::DeviceModelDies { domain } => format!("pkill -KILL -f \"[x]en-domid $(xl domid {domain}) \""),
        Event::NetworkAttach { domain, mac, bridge } => format!("xl network-attach {domain} mac={mac} bridge={bridge}"),
        Event::NetworkDetach { domain, devid } => format!("xl network-detach {domain} {devid}"),
        Event::CpupoolMigrate { domain, cpupool } => format!("xl cpupool-migrate {domain} {cpupool}"),
        Event::CpupoolCreate { name, cpus } => {
            format!("xl cpupool-cpu-remove Pool-0 {cpus}; xl cpupool-create 'name=\"{name}\"' 'cpus=\"{cpus}\"'")
        }
        Event::CpupoolDestroy { cpupool } => format!("xl cpupool-destroy {cpupool}"),
        Event::CpupoolRename { cpupool, name } => format!("xl cpupool-rename {cpupool} {name}"),
        Event::CpupoolCpuAdd { cpupool, cpus } => format!("xl cpupool-cpu-add {cpupool} {cpus}"),
        Event::CpupoolCpuRemove { cpupool, cpus } => format!("xl cpupool-cpu-remove {cpupool} {cpus}"),
        Event::BridgeRemoved { bridge } => format!("ip link delete {bridge}"),
        Event::XenconsoledLost => "pkill -KILL xenconsoled".to_owned(),
        Event::XenconsoledBack => "/usr/lib/xen-4.17/bin/xenconsoled".to_owned(),
        _ => return None,
    })
}

/// A guest ends from inside, and Xen has seen it.
fn guest_ends(player: &Player, domain: &str, how: ShutdownReason) -> Result<()> {
    let command = match how {
        ShutdownReason::Poweroff => "poweroff",
        ShutdownReason::Reboot => "reboot",
        ShutdownReason::Crash => "crash",
        ShutdownReason::Watchdog => "watchdog-fires",
        other => bail!("the lab's guests do not end by {other:?}"),
    };
    player.rig.lab.type_in_guest(domain, command)?;
    let state = format!("xl list {domain} | awk 'NR == 2 {{print $5}}'");
    player.rig.until(&format!("{domain} has ended"), |rig| {
        let has_ended = rig.lab.run(&state)?.contains(['s', 'c']);
        // Nobody can tell when a PC listens: until it has heard.
        if !has_ended && player.is_silent(domain) {
            rig.lab.type_in_guest(domain, command)?;
        }
        Ok(has_ended)
    })
}

/// Somebody makes a domain, of a guest of the lab's, so that it lives.
fn create(player: &Player, domain: &ForeignDomain) -> Result<()> {
    ensure!(!domain.autostart, "nothing in the lab makes a domain at each boot");
    let is_plain = domain.nics.is_empty() && domain.boot.is_none() && domain.toolstack == Some(Toolstack::Xl);
    ensure!(is_plain && (domain.disks.is_empty() || domain.kind == DomainKind::Hvm), "not made real: {domain:?}");
    let name = &domain.name;
    let mut config = format!(
        "name='{name}'\nvcpus={}\nmemory={}\npool='{}'\ncpu_weight={}\ncap={}\n",
        domain.vcpus,
        domain.memory_kib / 1024,
        domain.cpupool.as_deref().unwrap_or("Pool-0"),
        domain.weight,
        domain.cap,
    );
    let linux = "kernel='/srv/guests/vmlinuz'\nramdisk='/srv/guests/initrd.gz'\ncmdline='console=hvc0";
    let _ = match domain.kind {
        DomainKind::Pv => writeln!(config, "type='pv'\n{linux} {QUICK_LINUX}'"),
        DomainKind::Pvh => writeln!(config, "type='pvh'\n{linux}'"),
        DomainKind::Hvm => writeln!(config, "type='hvm'\nserial='pty'\ndisk=[{}]", drives(domain)),
    };
    if let Some(uuid) = domain.uuid {
        let _ = writeln!(config, "uuid='{uuid}'");
    }
    if domain.restarts_after_crash {
        let _ = writeln!(config, "on_crash='restart'");
    }
    if let Some(hard) = &domain.hard {
        let _ = writeln!(config, "cpus='{hard}'");
    }
    if let Some(soft) = &domain.soft {
        let _ = writeln!(config, "cpus_soft='{soft}'");
    }
    player.rig.write(&format!("/srv/{name}.cfg"), &config)?;
    let paused = if domain.paused { "-p" } else { "" };
    player.run(&format!("xl create {paused} /srv/{name}.cfg"))?;
    Ok(())
}

/// The drives of an HVM domain in xl's words. One that were empty from the start would end its QEMU when a medium is put into it.
fn drives(domain: &ForeignDomain) -> String {
    let disks = domain.disks.iter().zip('a'..).map(|(path, letter)| format!("'{path},raw,hd{letter},rw'"));
    let medium = |drive: &Cdrom| drive.medium.clone().unwrap_or_default();
    let cdroms = domain.cdroms.iter().map(|drive| format!("'{},raw,{},cdrom'", medium(drive), drive.target));
    disks.chain(cdroms).collect::<Vec<_>>().join(", ")
}

/// Whether an HVM guest boots from this file.
pub(crate) fn is_pc(path: &str) -> bool {
    path.ends_with("/pc.img")
}

/// Puts something at a path, or takes it away. No size says what is in a kernel: one that is called so is the lab's.
fn put(player: &Player, path: &str, file: Option<&File>) -> Result<()> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let command = match file {
        None => format!("rm {path}"),
        Some(File::File { .. }) if name.starts_with("vmlinuz") => {
            format!("[ -e {path} ] || cp /srv/guests/vmlinuz {path}")
        }
        Some(File::File { .. }) if is_pc(path) => format!("[ -e {path} ] || cp /srv/guests/pc.img {path}"),
        Some(File::File { size }) => {
            format!("[ -e {path} ] || {{ mkdir -p $(dirname {path}) && truncate -s {size} {path}; }}")
        }
        Some(File::Directory) => format!("mkdir -p {path}"),
        Some(File::Block { .. }) => bail!("the lab has no block device to spare for {path}"),
    };
    player.run(&command)?;
    Ok(())
}

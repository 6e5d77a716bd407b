//! A scenario's host and its events, made real: by `xl` and the shell in dom0, and on the guests' own consoles.

use crate::player::Player;
use anyhow::{Result, bail, ensure};
use lab::QUICK_LINUX;
use protocol::{DomainKind, ShutdownReason, Toolstack};
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

/// Somebody makes a domain: with the lab's own kernel, so that it lives.
fn create(player: &Player, domain: &ForeignDomain) -> Result<()> {
    ensure!(!domain.autostart, "nothing in the lab makes a domain at each boot");
    let is_plain = domain.disks.is_empty() && domain.nics.is_empty() && domain.boot.is_none();
    ensure!(is_plain && domain.toolstack == Some(Toolstack::Xl), "not made real: {domain:?}");
    let kind = match domain.kind {
        DomainKind::Pv => "pv",
        DomainKind::Pvh => "pvh",
        DomainKind::Hvm => bail!("the lab has no HVM guest"),
    };
    let name = &domain.name;
    let quick = if domain.kind == DomainKind::Pv { format!(" {QUICK_LINUX}") } else { String::new() };
    let cmdline = format!("console=hvc0{quick}");
    let mut config = format!(
        "name='{name}'\ntype='{kind}'\nvcpus={}\nmemory={}\nkernel='/srv/guests/vmlinuz'\nramdisk='/srv/guests/initrd.gz'\n\
         cmdline='{cmdline}'\npool='{}'\ncpu_weight={}\ncap={}\n",
        domain.vcpus,
        domain.memory_kib / 1024,
        domain.cpupool.as_deref().unwrap_or("Pool-0"),
        domain.weight,
        domain.cap,
    );
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

//! The simulator and real Xen are told the same things by `xl` and must show the same afterwards, refusals included.
//!
//! After every step the cpupools, and each domain's cpupool, pause, vCPUs, hard affinity, weight and cap are compared. Domains stay
//! paused: how guests behave is not what is looked at here.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::Lab;
use operation::Hypervisor;
use protocol::{
    BootConfig, CpuSet, DiskConfig, DomainConfig, DomainKind, DomainState, Mark, NicConfig, Placement, Sched,
};
use sim::{Calls, Event, File, HostFile, World};
use uuid::Uuid;

const GRUB: &str = "/usr/lib/grub-xen/grub-x86_64-xen.bin";

/// For all steps, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is done: by a shell in dom0, and to the simulator.
struct Step {
    shell: String,
    simulate: Box<dyn Fn(&mut World)>,
}

#[test]
fn the_simulator_shows_what_xen_shows() -> Result<()> {
    let steps = steps();
    let mut script = format!("exec 2>/dev/null\n{SHOW}");
    for step in &steps {
        writeln!(script, "( {} ) >/dev/null; show", step.shell)?;
    }
    let lab = Lab::builder().boot()?;
    let here = tempfile::tempdir()?;
    std::fs::write(here.path().join("steps"), script)?;
    lab.copy_in(here.path().join("steps"), "/srv/steps")?;
    lab.spawn("sh /srv/steps >/srv/shown; touch /srv/done", "/var/log/steps.log")?;
    let done = lab.wait_until("all steps are done", PATIENCE, |lab| Ok(lab.sh("test -e /srv/done")?.success()));
    let shown = lab.run("cat /srv/shown")?;
    done.with_context(|| format!("it got this far:\n{shown}"))?;
    let shown: Vec<&str> = shown.split("=== shown\n").collect();

    let mut world = world();
    let mut differences = String::new();
    for (step, shown) in steps.iter().zip(&shown) {
        (step.simulate)(&mut world);
        let (real, simulated) = (as_told(shown), as_simulated(&world));
        if real != simulated {
            writeln!(differences, "after `{}`\n--- real\n{real}--- simulated\n{simulated}", step.shell)?;
        }
    }
    assert_eq!(shown.len(), steps.len() + 1, "{shown:?}");
    assert!(differences.is_empty(), "{differences}");
    Ok(())
}

/// A shell function that prints cpupools, vCPUs, scheduler parameters and states.
const SHOW: &str = r#"
show() {
  xl cpupool-list -c | sed 's/^/pool /'
  xl list -c | sed 's/^/domain /'
  xl vcpu-list | sed 's/^/vcpu /'
  xl sched-credit2 | sed 's/^/sched /'
  echo "=== shown"
}
"#;

fn steps() -> Vec<Step> {
    let told = |shell: &str, event: serde_json::Value| {
        let event: Event = serde_json::from_value(event).unwrap();
        Step {
            shell: shell.to_owned(),
            // What Xen refuses shows in that nothing has changed.
            simulate: Box::new(move |world| drop(world.apply(&event))),
        }
    };
    let on = |what: &str, cpupool: &str, cpus: &str| {
        told(
            &format!("xl cpupool-cpu-{what} {cpupool} {cpus}"),
            serde_json::json!({format!("cpupool-cpu-{what}"): {"cpupool": cpupool, "cpus": cpus}}),
        )
    };
    let pin = |domain: &str, vcpu: u32, hard: &str| {
        told(
            &format!("xl vcpu-pin {domain} {vcpu} {hard} -"),
            serde_json::json!({"vcpu-pin": {"domain": domain, "vcpu": vcpu, "hard": hard}}),
        )
    };
    let migrate = |domain: &str, cpupool: &str| {
        told(
            &format!("xl cpupool-migrate {domain} {cpupool}"),
            serde_json::json!({"cpupool-migrate": {"domain": domain, "cpupool": cpupool}}),
        )
    };
    let carve = |name: &str, cpus: &str| {
        told(
            &format!("xl cpupool-cpu-remove Pool-0 {cpus}; xl cpupool-create 'name=\"{name}\"' 'cpus=\"{cpus}\"'"),
            serde_json::json!({"cpupool-create": {"name": name, "cpus": cpus}}),
        )
    };
    let named =
        |what: &str, domain: &str| told(&format!("xl {what} {domain}"), serde_json::json!({what: {"domain": domain}}));
    let destroy_pool = |name: &str| {
        told(&format!("xl cpupool-destroy {name}"), serde_json::json!({"cpupool-destroy": {"cpupool": name}}))
    };
    vec![
        carve("p", "2-3"),
        create("d", 1, &["2", "3"], ""),
        create("o", 0, &["8"], ""),
        create("o", 0, &["7"], ""),
        create("lost", 0, &["2"], ""),
        create("nodisk", 0, &["8"], "disk=['/srv/none.img,raw,xvda,rw']"),
        create("nobridge", 0, &["8"], "vif=['bridge=none']"),
        create("nokernel", 0, &["8"], "kernel='/srv/none'"),
        named("pause", "d"),
        named("unpause", "d"),
        pin("d", 0, "5-6"),
        pin("d", 0, "2,5"),
        on("remove", "Pool-0", "8"),
        on("add", "p", "8"),
        on("add", "p", "7"),
        on("remove", "p", "3"),
        on("remove", "p", "4"),
        on("remove", "Pool-0", "0"),
        told(
            "xl sched-credit2 -d o -w 300 -c 20",
            serde_json::json!({"sched-set": {"domain": "o", "weight": 300, "cap": 20}}),
        ),
        migrate("o", "p"),
        told(
            "xl sched-credit2 -d o -w 300 -c 20",
            serde_json::json!({"sched-set": {"domain": "o", "weight": 300, "cap": 20}}),
        ),
        pin("o", 0, "8"),
        migrate("o", "p"),
        migrate("o", "Pool-0"),
        destroy_pool("p"),
        on("remove", "p", "2"),
        on("remove", "p", "8"),
        told("xl rename o n", serde_json::json!({"rename": {"domain": "o", "name": "n"}})),
        told("xl rename n d", serde_json::json!({"rename": {"domain": "n", "name": "d"}})),
        named("destroy", "d"),
        on("remove", "p", "8"),
        migrate("n", "p"),
        destroy_pool("p"),
        on("add", "Pool-0", "2"),
        carve("q", "4"),
        told("xl cpupool-rename q r", serde_json::json!({"cpupool-rename": {"cpupool": "q", "name": "r"}})),
        named("destroy", "n"),
    ]
}

/// A creation by `xl` and by the simulator's libxl. `more` is in the syntax of xl.cfg and makes it fail.
fn create(name: &str, poolid: u32, hard: &[&str], more: &str) -> Step {
    let masks: Vec<String> = hard.iter().map(|mask| format!("\"{mask}\"")).collect();
    let pool = if poolid == 0 { "Pool-0" } else { "p" };
    let shell = format!(
        "printf '%s\\n' \"name='{name}'\" \"kernel='{GRUB}'\" 'memory=32' 'vcpus={}' \"pool='{pool}'\" 'cpus=[{}]' 'cpu_weight=512' 'cap=50' \"{more}\" >/srv/{name}.cfg; xl create -p /srv/{name}.cfg",
        hard.len(),
        masks.join(",")
    );
    let config = config(name, hard, more);
    Step { shell, simulate: Box::new(move |world| drop(Calls::new(world).create_domain(&config, poolid))) }
}

fn config(name: &str, hard: &[&str], more: &str) -> DomainConfig {
    let vcpus = u32::try_from(hard.len()).unwrap();
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
    let kernel = if more.starts_with("kernel") { "/srv/none" } else { GRUB };
    DomainConfig {
        name: name.to_owned(),
        mark: Mark { pool_id: uuid, uuid, incarnation: uuid },
        kind: DomainKind::Pv,
        vcpus_max: vcpus,
        vcpus_online: vcpus,
        memory_kib: 32 * 1024,
        memory_max_kib: 32 * 1024,
        placement: Placement {
            cpupool: None,
            hard: hard.iter().map(|mask| mask.parse().unwrap()).collect(),
            soft: None,
            sched: Sched { weight: 512, cap: 50 },
        },
        boot: BootConfig::Kernel { kernel: kernel.to_owned(), ramdisk: None, cmdline: None },
        disks: more
            .starts_with("disk")
            .then(|| DiskConfig { target: "xvda".to_owned(), path: "/srv/none.img".to_owned(), read_only: false })
            .into_iter()
            .collect(),
        nics: more
            .starts_with("vif")
            .then(|| NicConfig { mac: "02:00:00:00:00:01".to_owned(), bridge: "none".to_owned(), devid: None })
            .into_iter()
            .collect(),
        hvm: None,
        memory_reserve_kib: 0,
        stays_paused: false,
    }
}

fn world() -> World {
    let mut host = HostFile::plain(10, 4 * 1024 * 1024);
    host.bridges.insert("xenbr0".to_owned());
    host.files.insert(GRUB.to_owned(), File::File { size: 1 });
    World::new(host).unwrap()
}

/// What `xl` printed, without what changes by itself.
fn as_told(shown: &str) -> String {
    let lines = shown.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // A cpupool without pCPUs has nothing behind its name.
            ["pool", name] => Some(format!("pool {name}: ")),
            ["pool", name, cpus] if name != "Name" => Some(format!("pool {name}: {}", set(cpus))),
            ["domain", name, domid, _, _, state, _, pool] if domid != "0" && domid != "ID" => {
                Some(format!("domain {name}: {pool}{}", if state.contains('p') { " paused" } else { "" }))
            }
            ["vcpu", name, domid, vcpu, _, state, _, ref hard @ .., _, _] if domid != "0" && domid != "ID" => {
                let online = if state == "--p" { "offline" } else { "online" };
                Some(format!("vcpu {name} {vcpu}: {online} {}", hard.concat()))
            }
            ["sched", name, domid, weight, cap] if domid != "0" && domid != "ID" => {
                Some(format!("sched {name}: {weight} {cap}"))
            }
            _ => None,
        }
    });
    sorted(lines)
}

fn as_simulated(world: &World) -> String {
    let observation = world.observe().unwrap();
    let all = world.all_cpus();
    let pools = observation.cpupools.known().unwrap();
    let name_of = |poolid: Option<u32>| {
        pools.iter().find(|pool| Some(pool.poolid) == poolid).and_then(|pool| pool.name.clone()).unwrap()
    };
    let mut lines: Vec<String> =
        pools.iter().map(|pool| format!("pool {}: {}", name_of(Some(pool.poolid)), pool.cpus)).collect();
    for domain in observation.domains.known().unwrap() {
        let name = domain.name.clone().unwrap();
        let paused = if domain.state == DomainState::Paused { " paused" } else { "" };
        lines.push(format!("domain {name}: {}{paused}", name_of(domain.poolid)));
        let sched = domain.sched.known().unwrap();
        lines.push(format!("sched {name}: {} {}", sched.weight, sched.cap));
        for vcpu in domain.vcpus.known().unwrap() {
            let online = if vcpu.online { "online" } else { "offline" };
            let hard = if vcpu.hard == all { "all".to_owned() } else { vcpu.hard.to_string() };
            lines.push(format!("vcpu {name} {}: {online} {hard}", vcpu.id));
        }
    }
    sorted(lines.into_iter())
}

/// A list of pCPUs in the order of their numbers.
fn set(cpus: &str) -> CpuSet {
    cpus.split(',').filter_map(|cpu| cpu.parse().ok()).collect()
}

fn sorted(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

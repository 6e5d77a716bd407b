//! What the emulated machine looks like: its processors, memory and network, as QEMU's arguments.

use std::net::SocketAddrV4;
use std::path::Path;

use crate::emulator::Emulator;
use crate::image::Init;
use crate::{Lab, LabError};

/// What a Linux is told on its command line to boot quickly under emulation: not to patch its own code for one processor or for
/// vulnerabilities, and not to protect its read-only data, each of which makes the emulator translate code again. A PV guest with two vCPUs
/// came up after 11 s of the emulator's time, and without them after 19 to 25 s.
pub const QUICK_LINUX: &str = "noreplace-smp rodata=off mitigations=off";

/// The processors that Xen finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Ten cores with one thread each, AMD. PV, PVH and HVM guests.
    TenCores,
    /// Four cores with two threads each, (0,1)(2,3)(4,5)(6,7), Intel. **PV guests only**: under this vendor QEMU's
    /// emulation kills a PVH guest at once, over and over.
    EightThreads,
    /// Two sockets with four single-threaded cores each, each a NUMA node with half of the memory.
    TwoSockets,
    /// So many cores with one thread each, AMD; 1 to 32.
    Cores(u8),
}

/// How a lab shall be; see [`Lab::builder`].
#[derive(Debug, Clone)]
#[must_use = "call `boot` to have a lab"]
pub struct Builder {
    pub(crate) name: Option<String>,
    pub(crate) init: Init,
    pub(crate) topology: Topology,
    pub(crate) parallel: bool,
    pub(crate) emulator: Emulator,
    pub(crate) memory_mib: u32,
    pub(crate) dom0_memory_mib: Option<u32>,
    pub(crate) dom0_vcpus: u8,
    pub(crate) xen_arguments: Vec<String>,
    pub(crate) forwards: Vec<(SocketAddrV4, SocketAddrV4)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            name: None,
            init: Init::Quick,
            topology: Topology::TenCores,
            parallel: false,
            emulator: Emulator::Installed,
            memory_mib: 4096,
            dom0_memory_mib: Some(900),
            dom0_vcpus: 2,
            xen_arguments: Vec::new(),
            forwards: Vec::new(),
        }
    }
}

impl Builder {
    /// Names the log of the serial console. Default: the program and the thread, which under `cargo test` is the test.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// dom0 boots systemd with Debian's own scripts of Xen, as a real host does. Its boot takes longer.
    pub fn systemd(mut self) -> Self {
        self.init = Init::Systemd;
        self
    }

    /// The processors. Default: [`Topology::TenCores`].
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// Emulates each processor in a thread of its own; for PVH guests, and HVM guests that boot. Default: one thread for all processors.
    ///
    /// One thread is quicker: a processor that spins gives way at once to the one that it waits for. A PV Linux with two vCPUs came up in
    /// 15 to 26 s, and with threads, beside another such lab on two cores, in 82 to 117 s. But then Linux in a PVH guest panics: 14 of 29
    /// with two vCPUs at boot, and one with one vCPU later. An interrupt that Xen injects arrives twice, the second time at the first
    /// instruction of its handler; most likely because `helper_vmrun` (target/i386/tcg/sysemu/svm_helper.c) delivers it and leaves it in
    /// `exception_index`, for whatever next asks for the thread to deliver it again. With a thread per processor that was not seen, but such a QEMU freezes now and then: see
    /// [`crate::steadily`]. `-icount` helps as well (none of 20), and was slow with five guests.
    pub fn parallel(mut self) -> Self {
        self.parallel = true;
        self
    }

    /// Emulated by Debian 11's QEMU 5.2, for what the installed one cannot do.
    pub fn on_debian11(mut self) -> Self {
        self.emulator = Emulator::Debian11;
        self
    }

    /// The machine's memory in MiB. Default: 4096. What nobody in the lab touches costs nothing.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// dom0's memory in MiB, at least 600; the rest is free for guests. Default: 900.
    pub fn dom0_memory_mib(mut self, memory_mib: u32) -> Self {
        self.dom0_memory_mib = Some(memory_mib);
        self
    }

    /// Boots Xen without `dom0_mem`: dom0 owns all memory.
    pub fn dom0_owns_all_memory(mut self) -> Self {
        self.dom0_memory_mib = None;
        self
    }

    /// dom0's vCPUs. Default: 2.
    pub fn dom0_vcpus(mut self, vcpus: u8) -> Self {
        self.dom0_vcpus = vcpus;
        self
    }

    /// One more word for Xen's command line, such as `sched=credit`.
    pub fn xen_argument(mut self, word: impl Into<String>) -> Self {
        self.xen_arguments.push(word.into());
        self
    }

    /// Lets dom0 reach a TCP server of the machine that runs the lab, such as a git server: connections from dom0 to
    /// `guest`, an address in 10.0.2.0/24 other than .2, .3 and .15 (10.0.2.100 is a good one), end at `host`.
    pub fn forward_to_host(mut self, guest: SocketAddrV4, host: SocketAddrV4) -> Self {
        self.forwards.push((guest, host));
        self
    }

    /// Boots the lab and returns when dom0 answers; makes the image first if there is none, and waits for its turn.
    pub fn boot(self) -> Result<Lab, LabError> {
        Lab::boot(self)
    }

    /// QEMU with all its arguments; it is to run in the image's folder.
    pub(crate) fn qemu(&self, files: &Files<'_>) -> Result<Vec<String>, LabError> {
        let mut arguments = self.emulator.command()?;
        let fixed = [
            // No KVM: where it is offered nested it seldom works, and a lab shall be the same everywhere.
            "-display none -monitor none -nodefaults",
            "-kernel xen -device virtio-9p-pci,fsdev=share,mount_tag=lab -serial chardev:console",
        ];
        arguments.extend(fixed.iter().flat_map(|line| line.split(' ')).map(str::to_owned));
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        let (cpu, smp, numa) = self.processors();
        add("-accel", format!("tcg,thread={}", if self.parallel { "multi" } else { "single" }));
        add("-cpu", cpu);
        add("-smp", smp);
        add("-m", format!("{}M", self.memory_mib));
        for (name, value) in numa {
            add(name, value);
        }
        add("-append", self.xen_command_line());
        add("-initrd", format!("vmlinuz console=hvc0 root=/dev/vda quiet net.ifnames=0 {QUICK_LINUX},initrd.gz"));
        add("-chardev", format!("file,id=console,append=on,path={}", escape(files.console)));
        add("-drive", format!("if=virtio,format=qcow2,file={}", escape(files.disk)));
        add("-fsdev", format!("local,id=share,security_model=none,path={}", escape(files.share)));
        add("-nic", self.network(files.ssh_port));
        Ok(arguments)
    }

    /// Why these flags are off: `smap` faults dom0 at its first exception under QEMU 7.2; a PVH guest under emulated SVM
    /// crashes on `rdtscp`; `xsave` loses AVX state at restore.
    fn processors(&self) -> (String, String, Vec<(&'static str, String)>) {
        let off = "-smap,-pku,-rdtscp,-xsave";
        let single =
            |cores: u8| (format!("max,{off}"), format!("{cores},sockets=1,cores={cores},threads=1"), Vec::new());
        match self.topology {
            Topology::TenCores => single(10),
            Topology::Cores(cores) => single(cores),
            Topology::EightThreads => {
                (format!("max,vendor=GenuineIntel,{off}"), "8,sockets=1,cores=4,threads=2".into(), Vec::new())
            }
            Topology::TwoSockets => {
                let node = |number: u32, cpus: &str| {
                    let size = self.memory_mib / 2 + number * (self.memory_mib % 2);
                    [
                        ("-object", format!("memory-backend-ram,id=node{number},size={size}M")),
                        ("-numa", format!("node,memdev=node{number},cpus={cpus}")),
                    ]
                };
                let nodes = [node(0, "0-3"), node(1, "4-7")].concat();
                (format!("max,{off}"), "8,sockets=2,cores=4,threads=1".into(), nodes)
            }
        }
    }

    fn xen_command_line(&self) -> String {
        let mut words = vec!["console=com1".to_owned(), "com1=115200,8n1".to_owned()];
        words.extend(self.dom0_memory_mib.map(|mib| format!("dom0_mem={mib}M,max:{mib}M")));
        words.push(format!("dom0_max_vcpus={}", self.dom0_vcpus));
        // Scrubbing would touch, and so take from this machine, all the memory that nobody uses.
        words.extend(["loglvl=warning", "noreboot", "bootscrub=0"].map(str::to_owned));
        words.extend(self.xen_arguments.iter().cloned());
        words.join(" ")
    }

    fn network(&self, ssh_port: u16) -> String {
        let mut options = vec![format!("user,restrict=on,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{ssh_port}-:22")];
        // A command per connection: QEMU's own forward to an address is one connection for the machine's whole life.
        options.extend(
            self.forwards
                .iter()
                .map(|(guest, host)| format!("guestfwd=tcp:{guest}-cmd:busybox nc {} {}", host.ip(), host.port())),
        );
        options.join(",")
    }
}

/// The files and the port of one lab.
pub(crate) struct Files<'lab> {
    pub(crate) console: &'lab Path,
    pub(crate) disk: &'lab Path,
    pub(crate) share: &'lab Path,
    pub(crate) ssh_port: u16,
}

/// A path in a QEMU option, in which a comma separates.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#!/bin/sh
# Unpacks Debian 11's QEMU and OVMF. Neither is installed: the QEMU runs from there, with libraries of its own.
#
#   build.sh RECIPE OUT    RECIPE: the folder this script came with; OUT: an empty folder that receives
#
#     qemu-system-x86_64   QEMU 5.2, to be started by ld.so with the libraries in lib/ and the firmware in share/
#     OVMF.fd              UEFI of 2020, the last that knows Xen without being built for it alone
#
# Runs as root on Debian 12. Progress goes to stdout, everything else to stderr.
set -eu
out=$2
exec 3>&1 1>&2

say() { echo "image: $*" >&3; }

work=$(mktemp -d "${TMPDIR:-/tmp}/pinfold-lab-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
root=$work/root

# From the mirror of this machine's apt, and when that has no Debian 11 any more, from the archive.
unpack() {
    rm -rf "$root"
    mmdebstrap --mode=root --variant=extract --architectures=amd64 --include=qemu-system-x86,ovmf \
        bullseye "$root" "deb $1 bullseye main"
}
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && $3 == "Debian" { print $1; exit }')
say "downloading and unpacking Debian 11's QEMU (about a minute)"
unpack "${mirror:-http://deb.debian.org/debian}" || unpack http://archive.debian.org/debian

mkdir "$out/lib" "$out/share"
for folder in "$root/lib/x86_64-linux-gnu" "$root/usr/lib/x86_64-linux-gnu"; do
    find "$folder" -maxdepth 1 -name '*.so*' -exec cp -a -t "$out/lib" {} +
    # Libraries that programs find by a path within them (pulseaudio's), and QEMU's own modules.
    find "$folder" -mindepth 2 -maxdepth 2 -name 'lib*.so*' -exec cp -a -n -t "$out/lib" {} +
done
cp "$(find "$root/lib/" "$root/usr/lib/" -name 'ld-2.*.so' -type f | head -n1)" "$out/ld.so"
cp "$root/usr/bin/qemu-system-x86_64" "$out/"
for folder in seabios qemu; do cp -rL "$root/usr/share/$folder/." "$out/share/" || true; done
cp -rL "$root/usr/lib/ipxe/qemu/." "$out/share/"
cp "$root/usr/share/ovmf/OVMF.fd" "$out/"
"$out/ld.so" --library-path "$out/lib" "$out/qemu-system-x86_64" --version

#!/usr/bin/env python3
"""Run a command with this checkout's pathweave on an emulated processor that has AVX-512, VNNI, BF16, FP16 and AMX.

    .venv/bin/python tools/bochs.py run -- pathweave devices
    .venv/bin/python tools/bochs.py run --data net.onnx -- python -m pathweave.testing --isa amx
    .venv/bin/python tools/bochs.py build                        only make what `run` needs

The emulator is Bochs, built from Debian's source, and boots Debian's kernel with a file system of the interpreter that runs
this file and of the `pathweave` that it imports. All of it lies in --cache; nothing is installed. See docs/bochs.md.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import hashlib
import importlib.metadata
import importlib.util
import inspect
import lzma
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from py_compile import PycInvalidationMode

SUITE, MIRROR = "trixie", "http://deb.debian.org/debian"
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KERNEL = "linux-image-cloud-amd64"
PACKAGES = ["bochsbios", "vgabios", "isolinux", "syslinux-common", "genisoimage", "busybox-static"]

#: Program of this machine -> Debian package that has it.
NEEDED = {"apt-get": "apt", "dpkg": "dpkg", "gpgv": "gpgv", "g++": "g++", "make": "make", "xz": "xz-utils",
          "mke2fs": "e2fsprogs", "ldd": "libc-bin"}

CONFIGURE = ["--with-nogui", "--enable-cpu-level=6", "--enable-x86-64", "--enable-avx", "--enable-evex", "--enable-amx",
             "--enable-repeat-speedups", "--enable-fast-function-calls", "--enable-handlers-chaining",
             "--enable-trace-linking", "--disable-large-ramfile", "--disable-stats", "--disable-docbook"]
OPTIMISE = "-O2 -march=native -ffp-contract=off"

#: What Bochs 3.0 lacks or has wrong: (file, words there, words instead). Linux hands out tiles only where they can be locked
#: (extended feature disable): two registers, their bits in cpuid, and the trap of an instruction that meets a locked tile.
MENDED = [
    ("cpu/cpu.h", "  Bit64u ia32_xss;\n", "  Bit64u ia32_xss, ia32_xfd, ia32_xfd_error;\n"),
    ("cpu/init.cc", "  BX_CPU_THIS_PTR msr.ia32_xss = 0;\n",
     "  BX_CPU_THIS_PTR msr.ia32_xss = BX_CPU_THIS_PTR msr.ia32_xfd = BX_CPU_THIS_PTR msr.ia32_xfd_error = 0;\n"),
    ("cpu/msr.cc", "  msr_desc[BX_MSR_XSS] = ",
     "  msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor(\"MSR_IA32_XFD\", BX_ISA_AMX);\n"
     "  msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor(\"MSR_IA32_XFD_ERROR\", BX_ISA_AMX);\n"
     "  msr_desc[BX_MSR_XSS] = "),
    ("cpu/msr.cc", "    case BX_MSR_XSS:\n      if (",
     "    case BX_MSR_IA32_XFD: val64 = BX_CPU_THIS_PTR msr.ia32_xfd; break;\n"
     "    case BX_MSR_IA32_XFD_ERROR: val64 = BX_CPU_THIS_PTR msr.ia32_xfd_error; break;\n"
     "    case BX_MSR_XSS:\n      if ("),
    ("cpu/msr.cc", "    case BX_MSR_XSS:\n      {",
     "    case BX_MSR_IA32_XFD: BX_CPU_THIS_PTR msr.ia32_xfd = val_64; handleAvxModeChange(); break;\n"
     "    case BX_MSR_IA32_XFD_ERROR: BX_CPU_THIS_PTR msr.ia32_xfd_error = val_64; break;\n"
     "    case BX_MSR_XSS:\n      {"),
    ("cpu/cpuid.cc", "      leaf->eax |= (1<<3);\n\n    // EBX[31:00] - The size",
     "      leaf->eax |= (1<<3) | (1<<4);\n\n    // EBX[31:00] - The size"),
    ("cpu/cpuid.cc", "      leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;\n",
     "      leaf->ecx = (cpu->ia32_xss_suppmask & (1 << subfunction)) != 0;\n"
     "      if (subfunction == xcr0_t::BX_XCR0_XTILEDATA_BIT) leaf->ecx |= 1 << 2;\n"),
    ("cpu/proc_ctrl.cc", "(~BX_CPU_THIS_PTR xcr0.val32 & (BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0)\n    clear",
     "(~BX_CPU_THIS_PTR xcr0.val32 & (BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0 ||\n"
     "      (BX_CPU_THIS_PTR msr.ia32_xfd & BX_XCR0_XTILEDATA_MASK) != 0)\n    clear"),
    ("cpu/proc_ctrl.cc", "(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK))\n    exception(BX_UD_EXCEPTION, 0);\n",
     "(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK))\n    exception(BX_UD_EXCEPTION, 0);\n\n"
     "  if (BX_CPU_THIS_PTR msr.ia32_xfd & BX_XCR0_XTILEDATA_MASK) {\n"
     "    BX_CPU_THIS_PTR msr.ia32_xfd_error = BX_XCR0_XTILEDATA_MASK;\n"
     "    exception(BX_NM_EXCEPTION, 0);\n  }\n"),
    # What it keeps of tiles between two turns of a thread: rows and bytes exchanged, 8 of 16 rows, "in use" for "not in use".
    ("cpu/xsave.cc", "tilecfg.vmm16u(8+n)    = BX_CPU_THIS_PTR amx->tilecfg[n].rows;",
     "tilecfg.vmm16u(8+n) = BX_CPU_THIS_PTR amx->tilecfg[n].bytes_per_row;"),
    ("cpu/xsave.cc", "tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].bytes_per_row;",
     "tilecfg.vmmubyte(48+n) = BX_CPU_THIS_PTR amx->tilecfg[n].rows;"),
    ("cpu/xsave.cc", "row < BX_TILE_REGISTERS; row++) {\n      write", "row < BX_TILE_MAX_ROWS; row++) {\n      write"),
    ("cpu/xsave.cc", "row < BX_TILE_REGISTERS; row++) {\n      read", "row < BX_TILE_MAX_ROWS; row++) {\n      read"),
    ("cpu/xsave.cc", "amx->tile_use_tracker == 0)", "amx->tile_use_tracker != 0)"),
    # TDPBUSD took the signed bytes for unsigned ones.
    *(("cpu/avx/amx.cc", f"Bit32u(xbyte[{n}]) * Bit32s(ybyte[{n}])", f"Bit32s(xbyte[{n}]) * Bit32s(Bit8s(ybyte[{n}]))")
      for n in range(4)),
]

#: Emulated instructions per emulated second: the clock rate that the model's cpuid names, or Linux's clocks would disagree.
INSTRUCTIONS_PER_SECOND = 2_200_000_000

BOCHSRC = """\
cpu: model=sapphire_rapids, exclude_features="la57,pcid", count=1, ips={ips}, reset_on_triple_fault=0
memory: guest=2048, host=2048
romimage: file={cache}/debian/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file={cache}/debian/usr/share/vgabios/vgabios.bin
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata0-master: type=disk, mode=volatile, path={cache}/base.img, journal={work}/base.journal
ata0-slave: type=disk, mode=flat, path={work}/work.img
ata1-master: type=cdrom, path={cache}/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={work}/serial
clock: sync=none, time0=utc
log: {work}/bochs.log
logprefix: %t%e%d
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
speaker: enabled=0
"""

ISOLINUX = """\
default linux
prompt 0
label linux
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0,115200 quiet loglevel=3 panic=1 mitigations=off nokaslr tsc=reliable no_timer_check
"""

MODULES = ["drivers/scsi/scsi_common", "drivers/scsi/scsi_mod", "drivers/ata/libata", "drivers/ata/ata_piix",
           "drivers/scsi/sd_mod"]
BEGIN, END = "== bochs: begin", "== bochs: exit "

INIT = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
n=0; while [ ! -b /dev/sdb ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
mount -t ext4 -o ro /dev/sda /root && mount -t ext4 /dev/sdb /root/work && mount -t tmpfs tmp /root/tmp || poweroff -f
for each in proc sys dev; do mount -o move /$each /root/$each; done
stty -opost < /root/dev/ttyS0
chroot /root /bin/sh /work/.command < /root/dev/null > /root/dev/ttyS0 2>&1
umount /root/work
sleep 1
poweroff -f
"""

COMMAND = """\
export HOME=/tmp PATH=/usr/bin:/bin PYTHONHOME=/usr PYTHONPATH=/work/.package:/usr/lib/site PYTHONUNBUFFERED=1
export LD_LIBRARY_PATH=/usr/lib/host PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
cd /work
echo "{begin}"
{command}
code=$?
echo; echo "{end}$code"
"""


class Failure(Exception):
    """Something that the user must put right; the message says what."""


def say(text: str) -> None:
    print(f"bochs: {text}", file=sys.stderr, flush=True)


def call(*command: object, cwd: Path | None = None, env: dict | None = None, log: Path | None = None) -> str:
    """Run a program and return its output; Failure with the end of what it printed when it fails."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **(env or {})}, text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if log:
        log.write_text(done.stdout)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))[:200]} failed ({done.returncode}):\n{done.stdout[-2000:]}")
    return done.stdout


def check_programs() -> None:
    missing = sorted({package for program, package in NEEDED.items()
                      if not shutil.which(program) and not shutil.which(program, path="/usr/sbin:/sbin")})
    if not KEYS.exists():
        missing.append("debian-archive-keyring")
    if missing:
        raise Failure(f"these packages are missing; install them:  apt-get install {' '.join(missing)}")


@contextmanager
def finished(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; it takes the name `target` when all went well."""
    half = target.with_name(target.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    half.unlink(missing_ok=True) if half.is_file() else None
    yield half
    half.rename(target)


# ---- Debian's packages --------------------------------------------------------------------------------------------------
class Debian:
    """apt with lists and cache of its own, so that every file is checked against the archive's signature."""

    def __init__(self, cache: Path):
        self.folder = cache / "apt"
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        signed = f"[signed-by={KEYS}] {MIRROR} {SUITE} main\n"
        (self.folder / "sources.list").write_text(f"deb {signed}deb-src {signed}")
        (self.folder / "apt.conf").write_text(
            f'Dir::Etc::SourceList "{self.folder}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
            f'Dir::State::Lists "{self.folder}/lists";\nDir::Cache "{self.folder}";\nDir::State::Status "/dev/null";\n'
            'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAPT::Architecture "amd64";\n')

    def apt(self, *words: str, cwd: Path | None = None) -> str:
        return call(*words, cwd=cwd, env={"APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"})

    def unpack(self, target: Path) -> None:
        """The packages, files as they would lie under /."""
        self.apt("apt-get", "update")
        shown = self.apt("apt-cache", "show", KERNEL)
        kernel = re.search(r"Depends: (\S+)", shown)
        if not kernel:
            raise Failure(f"{KERNEL} of {SUITE} names no kernel:\n{shown[:500]}")
        target.mkdir(parents=True)
        self.apt("apt-get", "download", *PACKAGES, kernel.group(1), cwd=target)
        for package in target.glob("*.deb"):
            call("dpkg", "-x", package, target)
            package.unlink()

    def source(self, target: Path) -> None:
        """Bochs as its authors released it, less what Debian may not distribute."""
        target.mkdir(parents=True)
        self.apt("apt-get", "source", "--tar-only", "--download-only", "bochs", cwd=target)
        archive = next(target.glob("bochs_*.orig.tar.*"))
        call("tar", "-xf", archive, "--strip-components=1", cwd=target)
        for name, old, new in MENDED:
            text = (target / name).read_text(encoding="latin-1")
            if text.count(old) != 1:
                raise Failure(f"{archive.name}: {name} should have once, but has {text.count(old)} times:\n{old}\n"
                              "MENDED in this file suits Bochs 3.0; see what this version needs")
            (target / name).write_text(text.replace(old, new), encoding="latin-1")


# ---- what is made once --------------------------------------------------------------------------------------------------
def emulator(cache: Path, binary: Path) -> None:
    """Build the program from its source."""
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        source, build = Path(folder) / "source", Path(folder) / "build"
        Debian(cache).source(source)
        build.mkdir()
        call(source / "configure", *CONFIGURE, cwd=build, env={"CFLAGS": OPTIMISE, "CXXFLAGS": OPTIMISE},
             log=cache / "configure.log")
        call("make", f"-j{os.cpu_count() or 1}", cwd=build, log=cache / "make.log")
        shutil.copy(build / "bochs", binary)


def cpio(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An archive in the "newc" form that the kernel unpacks, of (name, mode, content)."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        words = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def boot_image(image: Path, debian: Path) -> None:
    """An image of a compact disc that boots the kernel, with a first file system that mounts the other two."""
    modules = next((debian / "usr/lib/modules").iterdir())
    folders = ["bin", "modules", "proc", "sys", "dev", "root"]
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in folders]
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, (debian / "usr/bin/busybox").read_bytes()))
    for name in MODULES:
        content = lzma.decompress((modules / f"kernel/{name}.ko.xz").read_bytes())
        entries.append((f"modules/{Path(name).name}.ko", stat.S_IFREG | 0o644, content))
    init = INIT.format(modules=" ".join(Path(name).name for name in MODULES))
    entries.append(("init", stat.S_IFREG | 0o755, init.encode()))
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        disc = Path(folder)
        shutil.copy(next((debian / "boot").glob("vmlinuz-*")), disc / "vmlinuz")
        (disc / "initrd").write_bytes(cpio(entries))
        (disc / "isolinux.cfg").write_text(ISOLINUX)
        shutil.copy(debian / "usr/lib/ISOLINUX/isolinux.bin", disc)
        shutil.copy(debian / "usr/lib/syslinux/modules/bios/ldlinux.c32", disc)
        call(debian / "usr/bin/genisoimage", "-quiet", "-o", image, "-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot",
             "-boot-load-size", "4", "-boot-info-table", "-R", disc)


def distributions() -> list[importlib.metadata.Distribution]:
    """What pathweave needs to run and what that needs, as installed for this interpreter."""
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    wanted = ast.literal_eval(re.search(r"^dependencies = (\[.*?\])", project, re.M | re.S).group(1))
    found: dict[str, importlib.metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        name = re.match(r"[\w.-]+", requirement).group().lower().replace("_", "-")
        if name in found or "extra ==" in requirement:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if ";" in requirement:  # for another system or version
                continue
            raise Failure(f"{sys.executable} lacks {name}; start this file with the interpreter that has pathweave") from None
        wanted += found[name].requires or []
    return list(found.values())


def libraries(folder: Path, *, beside: Path) -> set[Path]:
    """Shared libraries of the system that programs and modules under `folder` name, those under `beside` left out."""
    found = set()
    for file in [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]:
        with file.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                continue
        listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
        for match in re.finditer(r"(?:=> |^\s+)(/\S+) \(", listed, re.M):
            library = Path(match.group(1))
            if beside not in library.parents and beside not in library.resolve().parents:
                found.add(library)
    return found


def base_image(image: Path, debian: Path) -> None:
    """The first disk: the interpreter, its library, the packages that pathweave needs, and a shell."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        root = Path(folder)
        for name in ("bin", "usr/bin", "usr/lib/host", "usr/lib/site", "lib64", "etc", "dev", "proc", "sys", "tmp", "work"):
            (root / name).mkdir(parents=True)
        shutil.copy(debian / "usr/bin/busybox", root / "bin/busybox")
        for name in call(root / "bin/busybox", "--list").split():
            if name != "busybox":
                (root / "bin" / name).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
        shutil.copy(Path(sys.executable).resolve(), root / "usr/bin/python3")
        (root / "usr/bin/python").symlink_to("python3")
        (root / "usr/bin/pathweave").write_text("#!/bin/sh\nexec python -c 'from pathweave.cli import main; main()' \"$@\"\n")
        (root / "usr/bin/pathweave").chmod(0o755)
        library = Path(sysconfig.get_path("stdlib"))
        left_out = shutil.ignore_patterns("test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo",
                                          "config-*", "site-packages", "dist-packages", "__pycache__", "*.a")
        shutil.copytree(library, root / "usr/lib" / library.name, ignore=left_out, symlinks=False)
        site = root / "usr/lib/site"
        for distribution in distributions():
            for file in distribution.files or []:
                source = Path(distribution.locate_file(file))
                if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                    (site / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, site / file)
        here = Path(sysconfig.get_path("platlib"))
        for each in libraries(root, beside=root) | libraries(package_folder(), beside=here):
            goal = root / "lib64" if each.name.startswith("ld-linux") else root / "usr/lib/host"
            if here not in each.parents:
                shutil.copy(each.resolve(), goal / each.name)
        compileall.compile_dir(root / "usr/lib", quiet=2, stripdir=str(root), workers=0,
                               invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        disk(image, root, spare=16 << 20)


def disk(image: Path, folder: Path, *, spare: int) -> None:
    """A file system with what `folder` holds; its size suits the tables of an emulated disk."""
    files = [path for path in folder.rglob("*") if not path.is_symlink()]
    content = sum((path.stat().st_size // 4096 + 1) * 4096 for path in files)
    size = -(-int(content * 1.1 + spare) // (16 * 63 * 512)) * (16 * 63 * 512)  # whole cylinders
    with image.open("wb") as stream:
        stream.truncate(size)
    mke2fs = shutil.which("mke2fs") or shutil.which("mke2fs", path="/usr/sbin:/sbin")
    call(mke2fs, "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-b", "4096", "-N", len(files) + 1000, "-d", folder, image,
         size // 4096)


def package_folder() -> Path:
    """The built `pathweave` that this interpreter imports, else the one built in this checkout."""
    spec = importlib.util.find_spec("pathweave")
    imported = [Path(spec.origin).parent] if spec and spec.origin else []
    for folder in [*imported, Path(__file__).resolve().parent.parent / "src/pathweave"]:
        if any(folder.glob("_native*.so")):
            return folder
    raise Failure(f"{sys.executable} has no built pathweave; run `make install` and start this file with .venv/bin/python")


def made(target: Path, of: object, make: Callable[[Path], None], words: str) -> Path:
    """`target`, made now unless it is there and was made of the same."""
    stamp, key = target.with_name(target.name + ".key"), hashlib.sha256(repr(of).encode()).hexdigest()
    if not (target.exists() and stamp.exists() and stamp.read_text() == key):
        say(words)
        stamp.unlink(missing_ok=True)
        if target.is_dir():
            shutil.rmtree(target)
        with finished(target) as half:
            make(half)
        stamp.write_text(key)
    return target


def prepare(cache: Path) -> Path:
    """Make what is not there yet; the path of the first disk."""
    check_programs()
    package_folder()
    cache.mkdir(parents=True, exist_ok=True)
    debian = made(cache / "debian", (SUITE, KERNEL, PACKAGES), Debian(cache).unpack,
                  f"fetching {KERNEL} and {', '.join(PACKAGES)} of Debian {SUITE}")
    made(cache / "bochs", (SUITE, MENDED, CONFIGURE, OPTIMISE), lambda half: emulator(cache, half),
         "fetching and building Bochs (five minutes of one core)")
    made(cache / "boot.iso", (INIT, ISOLINUX, MODULES), lambda half: boot_image(half, debian), "making what boots")
    held = [sys.version, sys.base_prefix, *sorted(f"{each.name} {each.version}" for each in distributions())]
    return made(cache / "base.img", (held, inspect.getsource(base_image)), lambda half: base_image(half, debian),
                f"making a disk of {sys.executable} and its packages")


# ---- one run ------------------------------------------------------------------------------------------------------------
def work_image(image: Path, command: list[str], data: list[Path]) -> None:
    """The second disk, mounted at /work: the package, the command, and the files it asks for."""
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        root = Path(folder)
        shutil.copytree(package_folder(), root / ".package/pathweave", ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(root / ".package", quiet=2, stripdir=str(root),
                               invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
        say(f"running {package_folder()}")
        (root / ".command").write_text(COMMAND.format(begin=BEGIN, end=END, command=shlex.join(command)))
        for path in data:
            if not path.exists():
                raise Failure(f"--data {path}: there is no such file or folder")
            shutil.copytree(path, root / path.name) if path.is_dir() else shutil.copy(path, root / path.name)
        disk(image, root, spare=256 << 20)


def follow(process: subprocess.Popen, serial: Path) -> int | None:
    """Print what the command prints as it comes; its exit code, None when the machine stopped before it ended."""
    seen, began, text = 0, False, ""
    while True:
        over = process.poll() is not None
        if serial.exists():
            with serial.open("rb") as stream:
                stream.seek(seen)
                fresh = stream.read()
            seen += len(fresh)
            text += fresh.decode(errors="replace").replace("\r\n", "\n")
        while "\n" in text:
            line, text = text.split("\n", 1)
            if line.startswith(END):
                return int(line[len(END):])
            if "Kernel panic" in line:
                return None
            if began:
                print(line, flush=True)
            began = began or line.startswith(BEGIN)
        if over:
            return None
        time.sleep(0.2)


def run(cache: Path, base: Path, command: list[str], data: list[Path]) -> int:
    """Boot, run, and return the command's exit code."""
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as folder:
        work = Path(folder)
        work_image(work / "work.img", command, data)
        settings = BOCHSRC.format(cache=cache, work=work, ips=INSTRUCTIONS_PER_SECOND)
        (work / "bochsrc").write_text(settings)
        with (work / "console").open("wb") as console:
            process = subprocess.Popen([str(cache / "bochs"), "-q", "-f", str(work / "bochsrc")], stdin=subprocess.DEVNULL,
                                       stdout=console, stderr=subprocess.STDOUT, cwd=work)
        try:
            code = follow(process, work / "serial")
            if code is None:
                logs = [work / name for name in ("serial", "bochs.log", "console") if (work / name).exists()]
                said = "\n".join(log.read_text(errors="replace")[-1500:] for log in logs)
                raise Failure(f"the emulated machine stopped before the command ended; it said last:\n{said}")
            return code
        finally:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bochs.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/pathweave-bochs", help="default %(default)s")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="make the emulator and its disks")
    one = verbs.add_parser("run", help="run a command on it; exits with the command's exit code")
    one.add_argument("--data", type=Path, action="append", default=[], help="file or folder to find in the working folder")
    one.add_argument("command", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave through the blocks that clean up
    cache = arguments.cache.resolve()
    try:
        base = prepare(cache)
        if arguments.verb == "build":
            return 0
        return run(cache, base, arguments.command, arguments.data)
    except Failure as error:
        print(f"bochs: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())

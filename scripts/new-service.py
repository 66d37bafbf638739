"""Makes a new service: a device that builds, boots and passes its tests at once, to be made into yours.

It is the folder services/NAME with its manifest, device.h, host test and fuzz target, and the page docs/devices/NAME.md.
Nothing else lists it. docs/tutorial-new-device.md goes on from here.
"""
import argparse
import pathlib
import re
import subprocess
import sys

import discover
import manifest
from schemas import ROOT

TEMPLATES = pathlib.Path(__file__).resolve().parent / "templates"
DEVICE_IDS = 63
INTERFACES = 255
CLANG_FORMAT = "clang-format-19"
# Where names of namespace atoll that a device sees are declared.
HEADERS = ["ipc", "services/runtime", "services/virtio", "tests/unit/device", "tests/unit/uart"]
DECLARED = r"\b(?:class|struct|using|enum class|concept|message|service|enum)\s+{}\b"


class Refused(Exception):
    """Why there is no such service: one sentence."""


def class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split("[_-]", name))


def check_name(root: pathlib.Path, name: str) -> None:
    if not manifest.NAME.match(name) or len(name) > manifest.SERVICE_NAME_MAX:
        raise Refused(f'the name "{name}" must be at most {manifest.SERVICE_NAME_MAX} lower case letters, digits and "-", '
                      "a letter first")
    if (root / "services" / name).exists():
        raise Refused(f"services/{name} is there already")
    for other in discover.services(root):
        if class_name(other) == class_name(name) or other.replace("-", "_") == name.replace("-", "_"):
            raise Refused(f'the name "{name}" is too much like that of services/{other}')
    for taken in (root / "proto" / f"{name}.proto", root / "docs/devices" / f"{name}.md"):
        if taken.exists():
            raise Refused(f"{taken.relative_to(root)} is there already")
    for path in sorted((root / "tests").rglob("meson.build")):
        if re.search(rf"'(fuzz_)?{re.escape(name)}'", path.read_text(encoding="utf-8")):
            raise Refused(f'the name "{name}" is that of a test of {path.relative_to(root)}')
    check_class(root, class_name(name))


def check_class(root: pathlib.Path, name: str) -> None:
    files = [p for folder in HEADERS for p in sorted((root / folder).glob("*.h"))]
    files += [*sorted((root / "proto").glob("*.proto")), *discover.schemas(root).values()]
    for path in files:
        text = path.read_text(encoding="utf-8")
        for taken in (name, f"{name}State", f"{name}Config", f"{name}Control"):
            if re.search(DECLARED.format(taken), text):
                raise Refused(f'the device would be a class {name}, but {path.relative_to(root)} has a {taken} already: '
                              "take another name")


def check_id(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= DEVICE_IDS:
        raise Refused(f'the virtio device ID "{text}" must be a number in 1..{DEVICE_IDS} (VIRTIO 1.2, 5)')
    return int(text)


def free_interface(root: pathlib.Path) -> int:
    """The lowest number that no schema has."""
    schemas = [*(root / "proto").glob("*.proto"), *discover.schemas(root).values()]
    taken = {int(n) for path in schemas for n in re.findall(r"\(interface\)\s*=\s*(\d+)", path.read_text(encoding="utf-8"))}
    free = next((n for n in range(1, INTERFACES + 1) if n not in taken), None)
    if free is None:
        raise Refused(f"all {INTERFACES} interface numbers are taken")
    return free


CONSTRUCTOR = "  using {base}::{base};\n"
CONSTRUCTOR_WITH_CONFIG = """  {cls}(const Surroundings& surroundings, const {cls}Config& config)
      : {base}(surroundings), config_(config) {{}}
"""
SERVER = """
  // A call that comes again changed the state already.
  Result<{cls}SetValueReply> SetValue(const CallInfo& call, const {cls}SetValueRequest& request) override {{
    if (!WasMade(call)) {{
      ChangeState().value = request.value;
      ChangeState().stores += 1;
      Made(call);
    }}
    return {cls}SetValueReply{{.stores = state().stores}};
  }}
"""
MAKE_WITH_CONFIG = """
std::unique_ptr<{cls}> Make(const Surroundings& surroundings) {{
  {cls}Config config{{}};
  config.number = 7;
  return std::make_unique<{cls}>(surroundings, config);
}}
"""
FUZZ = {"mmio": "  return atoll::FuzzRegisterDevice<atoll::{cls}>(data, size);",
        "virtio": "  return atoll::virtio::FuzzVirtioDevice<atoll::{cls}>(data, size);"}
FUZZ_WITH_CONFIG = {"mmio": """  atoll::RegisterMachine<atoll::{cls}> machine([](const atoll::Surroundings& surroundings) {{
    return std::make_unique<atoll::{cls}>(surroundings, atoll::{cls}Config{{}});
  }});
  atoll::RegisterDeviceFuzz<atoll::{cls}>(machine).Run(atoll::FuzzInput(data, size));
  return 0;""", "virtio": """  atoll::virtio::DeviceMachine<atoll::{cls}> machine(
      [](const atoll::Surroundings& surroundings) {{
        return std::make_unique<atoll::{cls}>(surroundings, atoll::{cls}Config{{}});
      }},
      1 << 17);
  atoll::virtio::VirtioDeviceFuzz<atoll::{cls}>(machine).Run(atoll::FuzzInput(data, size));
  return 0;"""}


def files_of(root: pathlib.Path, name: str, device_id: int | None, config: bool, serves: bool) -> dict[pathlib.Path, str]:
    """What is to be written, by path."""
    kind, cls = "mmio" if device_id is None else "virtio", class_name(name)
    base = "RegisterDevice" if kind == "mmio" else "Device"
    words = {"NAME": name, "CLASS": cls, "GUARD": name.replace("-", "_").upper(), "ID": str(device_id),
             "TITLE": name[:1].upper() + name[1:].replace("-", " "),
             "CONFIG_LINE": f'config: "{cls}Config"\n' if config else "",
             "INCLUDES": f'#include "proto/{name}.atoll.h"\n' if config or serves else "",
             "BASES": f", public {cls}ControlServer" if serves else "",
             "CONSTRUCTOR": (CONSTRUCTOR_WITH_CONFIG if config else CONSTRUCTOR).format(base=base, cls=cls),
             "SERVER": SERVER.format(cls=cls) if serves else "",
             "MAKE": MAKE_WITH_CONFIG.format(cls=cls) if config else "", "MADE": "(Make)" if config else "",
             "FUZZ": (FUZZ_WITH_CONFIG if config else FUZZ)[kind].format(cls=cls),
             "CONFIG_EXAMPLE": ' config: "number: 3"' if config else "", "CONFIG_OPTION": ":number: 3" if config else "",
             "INTERFACE": str(free_interface(root)) if serves else ""}

    def filled(template: str) -> str:
        text = (TEMPLATES / template).read_text(encoding="utf-8")
        return re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], text)

    folder = root / "services" / name
    files = {folder / "manifest.textproto": filled(f"{kind}/manifest.textproto"),
             folder / "device.h": filled(f"{kind}/device.h"),
             folder / f"{name}_test.cc": filled(f"{kind}/test.cc"), folder / f"{name}_fuzz.cc": filled(f"{kind}/fuzz.cc"),
             root / "docs/devices" / f"{name}.md": filled(f"{kind}/page.md")}
    if config:
        text = files[folder / "device.h"]
        end = text.rindex("};\n")
        files[folder / "device.h"] = f"{text[:end]}\n  const {cls}Config& config() const {{ return config_; }}\n\n private:\n  const {cls}Config config_;\n{text[end:]}"
    if config or serves:
        parts = [filled(f"schema/{part}.proto") for part, wanted in (("config", config), ("serves", serves)) if wanted]
        files[folder / f"{name}.proto"] = ('syntax = "proto3";\n\npackage atoll;\n\nimport "proto/options.proto";\n\n'
                                           + "\n".join(parts))
        files[folder / f"{name}.options"] = f"atoll.{cls}Config.label max_size:16\n" if config else "# no strings, no lists\n"
    return files


def write(root: pathlib.Path, files: dict[pathlib.Path, str]) -> None:
    for path, text in files.items():
        if path.suffix in (".h", ".cc"):
            formatted = subprocess.run([CLANG_FORMAT, f"--assume-filename={path}"], input=text, capture_output=True,
                                       text=True, check=False)
            text = formatted.stdout if formatted.returncode == 0 else text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "meson.build").touch()  # so that the build looks for services again


def main(arguments, root: pathlib.Path = ROOT) -> int:
    parser = argparse.ArgumentParser(prog="scripts/new-service", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help=f"lower case letters, digits and -, at most {manifest.SERVICE_NAME_MAX}")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--virtio", metavar="ID", help="a virtio device with this device ID")
    kind.add_argument("--mmio", action="store_true", help="a device of registers (the default)")
    parser.add_argument("--config", action="store_true", help="with a configuration: NAME.proto and NAME.options")
    parser.add_argument("--serves", action="store_true", help="with an interface for other services (--mmio only)")
    options = parser.parse_args(arguments)
    try:
        check_name(root, options.name)
        device_id = None if options.virtio is None else check_id(options.virtio)
        if options.serves and device_id is not None:
            raise Refused("--serves is for devices of registers, not for --virtio")
        files = files_of(root, options.name, device_id, options.config, options.serves)
        write(root, files)
    except Refused as reason:
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(reason))
        print(f"new-service: {text}", file=sys.stderr)
        return 2
    for path in files:
        print(path.relative_to(root))
    print(f"\nTo see it in the demo: scripts/run --device {options.name}\n"
          f"Its tests: ninja -C build tests/unit/unit_{options.name} tests/fuzz/fuzz_{options.name}; "
          f"meson test -C build {options.name} fuzz_{options.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

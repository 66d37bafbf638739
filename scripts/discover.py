#!/usr/bin/python3
"""What there is in services/: each folder with a manifest is a service, and nothing else lists them.

Usage: discover.py SOURCE_ROOT [--record FILE]
prints one line for each service: its name, and which of these files it has, by role:
  meson     meson.build: its sources, where they are not simply all of the folder
  main      main.cc; without it, and with device.h, the build makes one (services/device_main.cc.in)
  device    device.h
  schema    NAME.proto     options   NAME.options
  test      NAME_test.cc   fuzz      NAME_fuzz.cc
  +FILE     any other source file
--record FILE: writes the same there, so that a build folder knows what it was configured for.
"""
import pathlib
import sys

ROLES = {"meson": "meson.build", "main": "main.cc", "device": "device.h", "schema": "{}.proto", "options": "{}.options",
         "test": "{}_test.cc", "fuzz": "{}_fuzz.cc"}


def services(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Folders of services by name."""
    return {path.parent.name: path.parent for path in sorted((root / "services").glob("*/manifest.textproto"))}


def schemas(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Schemas that lie with their services, by name."""
    return {name: folder / f"{name}.proto" for name, folder in services(root).items()
            if (folder / f"{name}.proto").is_file()}


def line(name: str, folder: pathlib.Path) -> str:
    files = {role: file.format(name) for role, file in ROLES.items()}
    found = [role for role, file in files.items() if (folder / file).is_file()]
    sources = sorted(p.name for p in folder.iterdir() if p.suffix in (".cc", ".S") and p.name not in files.values())
    return " ".join([name, *found, *(f"+{source}" for source in sources)])


def listing(root: pathlib.Path) -> str:
    return "".join(f"{line(*service)}\n" for service in services(root).items())


if __name__ == "__main__":
    text = listing(pathlib.Path(sys.argv[1]))
    if sys.argv[2:3] == ["--record"]:
        pathlib.Path(sys.argv[3]).write_text(text, encoding="utf-8")
    print(text, end="")

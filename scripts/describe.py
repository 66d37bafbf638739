#!/usr/bin/python3
"""Expands a system description and the services' manifests into the supervisor's plan.

Usage: describe.py --system FILE --manifests DIR --out plan.pb [--file NAME=PATH ...]
                   [--elfs DIR --list FILE] [--net] [--vsock] [--seed N] [--patience N]
  --manifests  a folder that has NAME/manifest.textproto; more than one may be given
  --file       where a file is that the description names NAME (else: relative to the description)
  --net        gives a network to each VM that has none
  --vsock      gives a socket device to each VM that has none, and them a way to the host
  --seed       makes the random numbers that guests are given repeatable
  --patience   deadlines and heartbeats are N times as long: for a machine whose clock runs on while it does not
  --list       writes lines NAME=PATH of all that the boot archive must hold, for archive.py --list;
               service ELFs are expected as DIR/NAME.elf, where DIR is the --elfs of the same place in the
               order of options as the --manifests of the service
"""
import argparse
import pathlib
import random

import discover
import manifest
from machine import Machine
from planner import FIRST_SLOT, Planner, elf_name
from schemas import ROOT, InputError, Schemas, run_tool


def load_services(schemas: Schemas, *folders: pathlib.Path) -> dict:
    services = {}
    for folder in folders:
        paths = sorted(folder.glob("*/manifest.textproto"))
        if not paths:
            raise InputError(f"{folder}: has no NAME/manifest.textproto")
        for service in (manifest.load(schemas, path.resolve()) for path in paths):
            if service.name in services:
                raise InputError(f"{service.path}: {service.name} has a manifest already, {services[service.name].path}")
            services[service.name] = service
    if "supervisor" not in services:
        raise InputError(f"{folders[0]}: has no supervisor/manifest.textproto")
    if services["supervisor"].handles > FIRST_SLOT:
        raise InputError(f"{services['supervisor'].path}: handle: slots end at {FIRST_SLOT - 1}")
    return services


def load_schemas() -> Schemas:
    configs = sorted(path.stem for path in (ROOT / "proto").glob("*_config.proto"))
    return Schemas("manifest", "system", "plan", "kernel", *configs, *discover.schemas(ROOT))


def load_schemas_of_interfaces() -> Schemas:
    """All that have services."""
    return Schemas("kernel", "device", "keeper", *discover.schemas(ROOT))


def describe(system: pathlib.Path, manifests: list, named: dict, seed: int | None = None, net: bool = False,
             patience: int = 1, host_sockets: bool = False) -> tuple:
    """(the plan's bytes, the Machine). InputError for whatever is wrong with the user's files."""
    schemas = load_schemas()
    services = load_services(schemas, *manifests)
    machine = Machine(schemas, schemas.read_text("System", system), system, services, named, net, host_sockets)
    machine.random = random.SystemRandom() if seed is None else random.Random(seed)
    machine.patience = patience
    return Planner(machine).plan(), machine


def main(arguments) -> None:
    parser = argparse.ArgumentParser(description="Makes the supervisor's plan from a system description.")
    parser.add_argument("--system", type=pathlib.Path, required=True)
    parser.add_argument("--manifests", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--file", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--elfs", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--list", type=pathlib.Path)
    parser.add_argument("--net", action="store_true")
    parser.add_argument("--vsock", action="store_true")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--patience", type=int, default=1, metavar="N")
    options = parser.parse_args(arguments)
    named = {}
    for pair in options.file:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise InputError(f'--file: "{pair}" is not NAME=PATH')
        named[name] = path
    if options.list and len(options.elfs) != len(options.manifests):
        raise InputError("--list: needs --elfs, the folder of the services' ELF files, as often as --manifests")
    plan, machine = describe(options.system, options.manifests, named, options.seed, options.net, options.patience,
                             options.vsock)
    options.out.write_bytes(plan)
    if options.list:
        entries = [("plan.pb", options.out)]
        elfs = {folder.resolve(): elfs for folder, elfs in zip(options.manifests, options.elfs)}
        used = {i.service.name: i.service for i in machine.instances}
        entries += [(elf_name(name), elfs[service.path.parent.parent] / f"{name}.elf")
                    for name, service in sorted(used.items())]
        entries += [(file.name, file.path) for file in machine.files.values()]
        options.list.write_text("".join(f"{name}={path.resolve()}\n" for name, path in entries), encoding="utf-8")


if __name__ == "__main__":
    run_tool(main)

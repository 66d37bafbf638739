"""Files of crashes (docs/debugging.md): what a service was given and had in memory when it died.

A zip archive: header.json, and for each region N the member N with its pages that are not all zero, one behind the other.
Written inside gdb (gdb_observe.py), read by replay.py.
"""
import json
import pathlib
import re
import zipfile
import zlib

FORMAT = "atoll-crash-1"
PAGE = 4096
COMPRESSION = 1     # of a guest's RAM: the quick one
FIELDS = {"format": str, "build": str, "generation": int, "start": int, "cause": str, "pc": int, "esr": int, "far": int,
          "registers": list, "ticks": int, "calls": list, "signals": int, "took_signals": bool, "plan": dict, "contents": list}
CALL_FIELDS = {"label": int, "words": list, "badge": int, "token": int, "attempt": int, "data": str}


class BadCrash(Exception):
    """One sentence: what is wrong with a file."""


def write(path: pathlib.Path, header: dict, regions: list) -> None:
    """`regions`: of each a function that gives page N's bytes, None for one that is not there, and the number of pages."""
    contents, unfinished = [], path.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as archive:
        for number, (page_of, pages) in enumerate(regions):
            present = []
            with archive.open(str(number), "w", force_zip64=True) as member:
                for page in range(pages):
                    data = page_of(page)
                    if data and data.count(0) != PAGE:
                        present.append(page)
                        member.write(data)
            contents.append(_runs(present))
        archive.writestr("header.json", json.dumps({"format": FORMAT, **header, "contents": contents}, indent=1))
    unfinished.rename(path)


def _runs(pages: list) -> list:
    """[[first, count], ...]."""
    runs = []
    for page in pages:
        if runs and sum(runs[-1]) == page:
            runs[-1][1] += 1
        else:
            runs.append([page, 1])
    return runs


def _check(values, fields: dict, what: str) -> None:
    if not isinstance(values, dict):
        raise BadCrash(f"{what} is no object")
    for name, kind in fields.items():
        if type(values.get(name)) is not kind or kind is int and not 0 <= values[name] < 1 << 64:
            raise BadCrash(f'{what} has no "{name}" that is a {"number of 64 bits" if kind is int else kind.__name__}')


class CrashFile:
    """A file that is whole. BadCrash for any other."""

    def __init__(self, path: pathlib.Path):
        try:
            self.archive = zipfile.ZipFile(path)
            self.header = json.loads(self.archive.read("header.json"))
            damaged = self.archive.testzip()
        except (OSError, zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
            raise BadCrash("is no file of a crash, or damaged") from error
        if damaged:
            raise BadCrash("is damaged")
        _check(self.header, {"format": str}, "its header")
        if self.header["format"] != FORMAT:
            raise BadCrash(f'is of the format "{self.header["format"]}"; this is for {FORMAT}')
        _check(self.header, FIELDS, "its header")
        for call in self.header["calls"]:
            _check(call, CALL_FIELDS, "a call")
            if len(call["words"]) != 6 or any(type(w) is not int or not 0 <= w < 1 << 64 for w in call["words"]):
                raise BadCrash("a call has other than six words")
            if not re.fullmatch(r"([0-9a-f]{2})*", call["data"]) or len(call["data"]) > 2 * PAGE:
                raise BadCrash("a call has data that are no page of bytes")

    def fill(self, memory, regions: list) -> None:
        """Writes the contents of the regions, the first ones of the file, into memory."""
        contents = self.header["contents"]
        if len(contents) < len(regions):
            raise BadCrash("has not the contents of all regions")
        for number, (region, runs) in enumerate(zip(regions, contents)):
            pages = -(-region.bytes // PAGE)
            try:
                data = self.archive.read(str(number))
            except KeyError:
                raise BadCrash(f"has not the contents of {region.name}") from None
            at = 0
            for run in runs if isinstance(runs, list) else [None]:
                if not isinstance(run, list) or [type(n) for n in run] != [int, int] or not 0 <= run[0] < run[0] + run[1] <= pages:
                    raise BadCrash(f"has pages outside of {region.name}")
                part = data[at:at + run[1] * PAGE]
                at += run[1] * PAGE
                start = run[0] * PAGE
                memory.write(region.address + start, part[:region.bytes - start])
            if at != len(data):
                raise BadCrash(f"has more or less of {region.name} than it says")

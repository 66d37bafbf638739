"""Files of crashes (docs/debugging.md): what a service was given and had in memory when it died.

A zip archive: header.json, and for each region N the member N with its pages that are not all zero, one behind the other.
Behind them, likewise, the header's "others": memory that the plan does not name (image, stack, statistics).
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
        for number, region in enumerate(regions):
            for start, data in self.pages(number, region.name, region.bytes):
                memory.write(region.address + start, data[:region.bytes - start])

    def others(self) -> list:
        """(address, bytes) of what is in the file behind the regions: image, stack, statistics."""
        found = self.header.get("others")
        if not isinstance(found, list) or not all(isinstance(o, list) and [type(n) for n in o] == [int, int] and min(o) >= 0 and
                                                  sum(o) < 1 << 48 for o in found):
            raise BadCrash('has no "others" that is memory')
        return found

    def pages(self, number: int, name: str, size: int):
        """(offset, bytes) of what is not zero of the memory that is number so many in the file."""
        if number >= len(self.header["contents"]):
            raise BadCrash("has not the contents of all regions")
        runs, pages, at = self.header["contents"][number], -(-size // PAGE), 0
        try:
            data = self.archive.read(str(number))
        except KeyError:
            raise BadCrash(f"has not the contents of {name}") from None
        for run in runs if isinstance(runs, list) else [None]:
            if not isinstance(run, list) or [type(n) for n in run] != [int, int] or not 0 <= run[0] < run[0] + run[1] <= pages:
                raise BadCrash(f"has pages outside of {name}")
            yield run[0] * PAGE, data[at:at + run[1] * PAGE]
            at += run[1] * PAGE
        if at != len(data):
            raise BadCrash(f"has more or less of {name} than it says")

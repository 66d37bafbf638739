#!/usr/bin/python3
"""Which rows of docs/conformance have a test, or a reason why not.

docs/conformance/NAME.rows  one row a line: ID and a short requirement (MMIO-05, CORE-10 ...)
docs/conformance/NAME.txt   rows without test: "ID: reason"
Tests carry the ids in their names with "_" for "-": TEST(VirtioMmio, MMIO_05_MMIO_06_features), TEST(GIC_001_control).

Prints each list's count, with --rows its rows without test or reason too. Fails if an id is unknown or given twice,
or if a list that COMPLETE names has a row with neither.
"""
import argparse
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LISTS = ROOT / "docs/conformance"
SOURCES = ["tests", "guests/tests", "services"]
COMPLETE = {"virtio-core", "virtio-blk", "virtio-net", "virtio-console", "virtio-rng", "virtio-vsock"}

ROW = re.compile(r"(?P<id>[A-Z][A-Z0-9]*-\d+) (?P<title>\S.*)")
REASON = re.compile(r"(?P<id>[A-Z][A-Z0-9]*-\d+): (?P<reason>\S.*)")
# TEST(NAME), TEST(Suite, NAME), TEST_F, TEST_P; def test_NAME of Python.
CPP_TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(?:\w+,\s*)?(\w+)\s*\)")
PYTHON_TEST = re.compile(r"^\s*def test_(\w+)\(", re.MULTILINE)
ID_IN_NAME = re.compile(r"(?:^|_)([A-Z][A-Z0-9]*)_(\d{2,3})(?=_|$)")


def ids_in_name(name: str) -> list[str]:
    return [f"{prefix}-{number}" for prefix, number in ID_IN_NAME.findall(name)]


def read_lines(path: pathlib.Path, shape: re.Pattern, errors: list[str]) -> dict[str, str]:
    """The lines of a list by id; what is wrong with them into `errors`."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line:
            continue
        match = shape.fullmatch(line)
        if match is None:
            errors.append(f"{path.relative_to(ROOT)}:{number}: is not of the form {shape.pattern}")
        elif match[1] in found:
            errors.append(f"{path.relative_to(ROOT)}:{number}: {match[1]} is there twice")
        else:
            found[match[1]] = match[2]
    return found


def find_tests() -> dict[str, list[str]]:
    """id -> places of its tests."""
    tests = collections.defaultdict(list)
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            pattern = {".cc": CPP_TEST, ".h": CPP_TEST, ".py": PYTHON_TEST}.get(path.suffix)
            if pattern is None or path == pathlib.Path(__file__).resolve():
                continue
            for name in pattern.findall(path.read_text(encoding="utf-8")):
                for row in ids_in_name(name):
                    tests[row].append(f"{path.relative_to(ROOT)}: {name}")
    return tests


def main() -> int:
    parser = argparse.ArgumentParser(description="Which rows of docs/conformance have a test.")
    parser.add_argument("--rows", action="store_true", help="list the rows that have neither test nor reason")
    options = parser.parse_args()
    errors: list[str] = []
    tests = find_tests()
    known: dict[str, str] = {}
    total = collections.Counter()
    for path in sorted(LISTS.glob("*.rows")):
        rows = read_lines(path, ROW, errors)
        errors += [f"{path.relative_to(ROOT)}: {row} is in {known[row]} too" for row in rows if row in known]
        known |= {row: path.name for row in rows}
        reasons_path = path.with_suffix(".txt")
        reasons = read_lines(reasons_path, REASON, errors) if reasons_path.exists() else {}
        errors += [f"{reasons_path.relative_to(ROOT)}: there is no row {row}" for row in reasons if row not in rows]
        tested = [row for row in rows if row in tests]
        uncovered = [row for row in rows if row not in tests and row not in reasons]
        reasoned = len(rows) - len(tested) - len(uncovered)
        total.update(rows=len(rows), tested=len(tested), reasoned=reasoned, uncovered=len(uncovered))
        print(f"{path.stem:12} {len(rows):4} rows: {len(tested):4} tested, {reasoned:3} with a reason, "
              f"{len(uncovered):3} without")
        if options.rows:
            print("".join(f"  {row} {rows[row]}\n" for row in uncovered), end="")
        if path.stem in COMPLETE and uncovered:
            errors.append(f"{path.relative_to(ROOT)}: must be complete; neither test nor reason: {', '.join(uncovered)}")
    for stray in sorted(set(LISTS.glob("*.txt")) - {p.with_suffix(".txt") for p in LISTS.glob("*.rows")}):
        errors.append(f"{stray.relative_to(ROOT)}: there is no list {stray.stem}.rows")
    for row in sorted(set(tests) - set(known)):
        errors += [f"{place}: there is no row {row}" for place in tests[row]]
    print(f"{'total':12} {total['rows']:4} rows: {total['tested']:4} tested, {total['reasoned']:3} with a reason, "
          f"{total['uncovered']:3} without")
    print(*errors, sep="\n", end="\n" if errors else "")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())

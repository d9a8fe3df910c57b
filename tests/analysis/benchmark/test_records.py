"""Records: what is said of each follows from its stored rows."""

import json

from analysis.benchmark.records import RECORDS, main, records


def test_each_record_is_read_from_its_rows_again():
    entries = json.loads(RECORDS.read_text())["records"]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in records().splitlines()[2:]]
    assert [line[0] for line in lines] == [str(number) for number in range(1, len(entries) + 1)]
    for line, entry in zip(lines, entries, strict=True):
        assert (
            line[2] == entry["changed"]
            and int(line[5]) == len(entry["rows"])
            and entry.get("command", "not with this version") in line[9]
        )
    commands = [entry["command"] for entry in entries if "command" in entry]
    assert len(set(commands)) == len(commands)  # one command cannot make the rows of two records
    assert [line[3] for line in lines][:3] == ["19.59 M", "13.87 M", "16.47 M"]  # the start included


def test_a_file_of_records_that_cannot_be_used_is_one_line(tmp_path, capsys):
    (tmp_path / "records.json").write_text('{"records": [{"date": "2026-11-30"}], "pool": [], "polish": []}')
    assert main([str(tmp_path / "records.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1

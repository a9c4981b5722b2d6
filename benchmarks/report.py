"""Write the tables of stored results into the documents: `python benchmarks/report.py [--check]`.

Every table of figures lies between two comments, `<!-- NAME -->` and `<!-- /NAME -->`, and is made from results/*.json
alone; `--check` only says whether they agree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from mmr_export.bench.tables import Figures, duration, times
from mmr_export.bench.timing import ANY, PYTORCH
from mmr_export.evaluate.soundtracks import NAMES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = tuple(
    ROOT / name
    for name in (
        "README.md",
        "docs/model-card.md",
        "docs/books.md",
        "docs/benchmarks.md",
        "docs/scale.md",
        "docs/packaging.md",
        "docs/readers/mmr-reader.md",
        "docs/training.md",
        "docs/decisions/004-int8.md",
        "docs/decisions/006-books.md",
    )
)


def load(name: str) -> dict[str, Any]:
    """Figures and host of results/NAME.json."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def speed_table() -> str:
    """Speed, memory and size of the default model."""
    result = load("bench_default")
    host, figures = result["host"], result["figures"]
    known = Figures(figures)
    best = next(p for p in ("int8", *figures["precisions"]) if known.row("warm", "page", p))
    more = figures["threads"][1:]
    head = ["work", "median", "5 % - 95 %", *(f"median, {n} threads" for n in more)]
    stages = []
    for stage, label in known.stages.items():
        variant = best if known.row("warm", stage, best) else ANY
        rows = [known.row("warm", stage, variant, n) for n in figures["threads"]]
        if all(rows):
            others = (duration(row["seconds"]["p50"]) for row in rows[1:])
            stages.append([label, *_median_and_spread(rows[0]), *others])
    programs = []
    for program, label in known.programs.items():
        row = known.row("cold", program, best) or known.row("cold", program, ANY)
        if row:
            used = [duration(row["cpu_seconds"]), f"{row['peak_mib']:.0f} MiB"]
            programs.append([label, *_median_and_spread(row), *used])
    return "\n".join(
        [
            f"{host['processor']} ({', '.join(host['instructions'])}), one thread, `{figures['model']}` in {best} "
            f"({figures['bytes'][best] / 1e6:.1f} MB), onnxruntime {host['versions']['onnxruntime']}:",
            "",
            *_table(head, stages),
            "",
            *_table(["whole process", "median", "5 % - 95 %", "CPU", "peak memory"], programs),
        ]
    )


def quality_table() -> str:
    """Quality of the default model on data it was not trained on, beside the baseline and the target of its plan."""
    q = load("quality")["figures"]
    songs, clips, texts, choices = q["songs"], q["clips"]["validation"], q["texts"], q["choices"]
    rows = []
    for reading, base, target in (
        ("one page alone", ("", ""), ("", "")),
        ("within its book", ("", ""), ("", "")),
        ("within all books", ("0.06", "0.69"), ("0.20", "0.74")),
        ("with neighbours", ("0.04", "0.70"), ("0.25", "0.76")),
        ("with dialogue", ("", ""), ("", "")),
        ("with dialogue and neighbours", ("0.22", "0.74"), ("0.40", "0.80")),
    ):
        for key, name, b, t in zip(("gain", "auc_within"), ("gain", "AUC within titles"), base, target, strict=True):
            rows.append([f"page moods, {reading}, {name}", _within(q["pages"][reading], key), b, t])
    rows += [
        ["song moods, mean AUC", _within(songs, "auc"), "0.80", "0.85"],
        ["song moods, first of seven right", _within(songs, "first right"), "0.36 - 0.45", "0.50"],
        ["held-out clips, AUC against the tagger", _within(clips, "auc against the tagger"), "", "0.90"],
        [
            "held-out clips, AUC against the tagger's profile",
            _within(clips, "auc against the tagger's profile"),
            "",
            "",
        ],
        ["held-out clips, mean AUC against the author's intent", _within(clips, "auc"), "", ""],
    ]
    for kind, base, target in (
        ("scene", "0.64", "0.75"), ("music", "0.74", "0.80"), ("dialogue", "0.55", "0.60"), ("query", "", "")
    ):  # fmt: skip
        rows.append(
            [f"held-out texts, {kind}, first of seven right", _within(texts[kind], "first right"), base, target]
        )
    for reading, base, target in (
        ("with neighbours", ("0.05", "0.30"), ("0.15", "0.38")),
        ("with dialogue and neighbours", ("0.04", "0.33"), ("0.25", "0.45")),
    ):
        for key, b, t in zip(("gain", "P@5"), base, target, strict=True):
            rows.append([f"song for a page, {reading}, {key}", _within(choices[reading], key), b, t])
    best = choices["with dialogue and neighbours"]
    hubs = [choices[f"with dialogue and neighbours, {how}"] for how in ("songs not compared", "hubs not corrected")]
    share = "share of the commonest song"
    rows += [
        ["pages that the commonest song takes", _within(best, share), "", "0.12"],
        ["the same, hubs not corrected", _within(hubs[1], share), "", ""],
        ["the same, songs not compared with each other either", _within(hubs[0], share), "", ""],
        ["distinct songs that come first, of " + str(songs["count"]), str(best["distinct songs"]), "", ""],
        ["page for a song, P@5", _within(q["songs choose pages"], "P@5"), "", ""],
    ]
    return "\n".join(_table(["what", "figure [95 % interval]", "baseline", "target"], rows))


def summary_table() -> str:
    """The few figures that a reader of the README needs."""
    q = load("quality")["figures"]
    best = "with dialogue and neighbours"
    rows = [
        ["a page has a mood or not (AUC; 0.5 is chance)", *(_within(q["pages"][r], "auc_within") for r in
            ("one page alone", best))],
        ["first mood of a page (gain; 0 is the best constant answer, 1 perfect)", *(_within(q["pages"][r], "gain") for r
            in ("one page alone", best))],
        [f"songs among the first five that fit (chance {q['choices'][best]['P@5 by chance']:.2f})",
            *(_within(q["choices"][r], "P@5") for r in ("one page alone", best))],
    ]  # fmt: skip
    return "\n".join(_table(["what", "one page alone", "read as a book, with dialogue"], rows))


def _within(figures: dict[str, Any], key: str) -> str:
    interval = figures.get(f"{key} interval")
    return f"{figures[key]:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")


def gap_table() -> str:
    """The same figures on what was trained on, on held-out data of the same kind, and on the development data."""
    q = load("quality")["figures"]
    pages, clips, texts = q["pages, validation and training"], q["clips"], q["texts"]
    splits = load("seeds")["figures"]["splits"]
    rows = [
        *([f"pages, {name}, three splits of the titles", "", ", ".join(f"{s[key]:.2f}" for s in splits), ""]
            for key, name in (("gain", "gain"), ("auc", "AUC"))),
        ["pages, gain", *(f"{pages[part]['gain']:.2f}" for part in ("training", "validation")),
            f"{q['pages']['within all books']['gain']:.2f}"],
        ["pages, AUC", *(f"{pages[part]['auc']:.2f}" for part in ("training", "validation")),
            f"{q['pages']['within all books']['auc_within']:.2f}"],
        ["music, AUC against intent", *(f"{clips[part]['auc']:.2f}" for part in ("training", "validation")),
            f"{q['songs']['auc']:.2f}"],
        *([f"texts, {kind}, first right", f"{t['first right, training']:.2f}", f"{t['first right']:.2f}", ""]
            for kind, t in texts.items()),
    ]  # fmt: skip
    return "\n".join(_table(["what", "training", "validation", "development"], rows))


def listening_table() -> str:
    """Ten pages and their first three songs, by measure."""
    rows = []
    for page in load("listening")["figures"]["pages"]:
        songs = "<br>".join(
            f"{s['song']} ({s['intended']}; {s['tempo']:.0f} bpm, {s['mode']}, {s['loudness']:.0f} dB)"
            for s in page["songs"]
        )
        rows.append([page["page"], page["graded"], page["read"], songs])
    return "\n".join(_table(["page", "graded", "read as", "first three songs (intended; measured)"], rows))


def soundtrack_table() -> str:
    """Soundtracks of the development titles, beside simple ways to make one."""
    rows = load("soundtracks")["figures"]["soundtracks"]
    ways = sorted(rows, key=lambda way: (not way.startswith("planned"), not way.startswith("followed"), way))
    cells = []
    for way in ways:
        figures, spans = rows[way]["figures"], rows[way]["intervals"]
        cells.append([way, *(f"{figures[name]:.2f} [{spans[name][0]:.2f}, {spans[name][1]:.2f}]" for name in NAMES)])
    return "\n".join(_table(["soundtrack", *NAMES], cells))


def lettering_table() -> str:
    """What reading the lettering does to the moods of pages."""
    figures = load("lettering")["figures"]
    manga, western = figures["manga"], figures["western"]
    rows = [
        [
            f"{manga['lettered']} of {manga['pages']} manga-styled pages, {what}",
            *(_within(manga[what], key) for key in ("gain", "auc")),
        ]
        for what in ("drawing", "drawing and lettering")
    ]
    # Most Western pages are funny: a constant answer is nearly the best, and gain says nothing.
    alone = f"{western['lettered']} of {western['pages']} Western pages, lettering"
    rows.append([alone, "", _within(western["lettering"], "auc")])
    return "\n".join(_table(["moods read from", "gain", "AUC"], rows))


def library_table() -> str:
    """A library of 10,000 songs, and one that is killed."""
    figures = load("library")["figures"]
    scale, crashes = figures["scale"], figures["crashes"]
    plan = load("soundtracks")["figures"]["plan of 200 pages and 10,000 songs"]
    rows = [
        ["folders looked at again, unchanged", f"{scale['scan again, unchanged, s']:.2f} s"],
        ["new process: open, first answer", f"{scale['new process, open and first answer, s']:.2f} s"],
        ["memory of that process", f"{scale['memory of that process, MB']:.0f} MB"],
        ["index on disk", f"{scale['index, MB']:.0f} MB"],
        ["plan of a book of 200 pages", f"{plan['median s']:.3f} s"],
        [
            f"finished songs lost in {crashes['killed']} kills of an index run",
            str(crashes["finished songs lost"]),
        ],
    ]
    return "\n".join(_table(["10,000 songs", "figure"], rows))


def scale_table() -> str:
    """How cost grows with songs and workers."""
    figures = load("scale")["figures"]
    rows = []
    for row in figures["search"]:
        in_milvus = [
            duration(row[key]) if (key := f"Milvus Lite, {what}, s") in row else "" for what in ("put", "search")
        ]
        rows.append([f"{row['songs']:,}", *(duration(row[key]) for key in ("first, s", "later, s")), *in_milvus])
    head = ["songs", "first search, here", "later ones", "put into Milvus Lite", "searched there"]
    rates = figures["songs a second"]
    listening = [[way, f"{rate:.1f}"] for way, rate in rates.items()]
    song = f"songs of {figures['seconds of a song']} s a second, {figures['cores']} cores"
    return "\n".join([*_table(head, rows), "", *_table(["listening by", song], listening)])


def about_table() -> str:
    """What the genre of a book does to the moods of its pages."""
    rows = [
        [f"{r['weight']:.1f}", f"{r['gain']:.2f}", f"{r['auc']:.3f}"]
        for r in load("rank_parameters")["figures"]["about"]
    ]
    return "\n".join(_table(["weight", "gain", "AUC"], rows))


def loudness_table() -> str:
    """How far the kept loudness is from the whole song's."""
    figures = load("loudness")["figures"]
    keys = ("median error, dB", "median absolute error, dB", "95 % below, dB")
    rows = [[name, *(f"{figures[name][key]:.1f}" for key in keys)] for name in ("2 windows", "8 windows")]
    return "\n".join(_table([f"heard of 45 s, {figures['songs']} songs", *keys], rows))


def training_table() -> str:
    """Speed and memory of fine-tuning AudioCLIP."""
    lines = []
    for name in ("training_cpu", "training_cuda"):
        result = load(name)
        figures, host = result["figures"], result["host"]
        device = figures["device"]
        where = host["processor"] if name == "training_cpu" else host["allowed_cores"]
        device = f"{where}, {device}" if name == "training_cpu" else f"{device}, read by {where} cores"
        for run in figures["runs"]:
            seconds, memory = run["seconds a step"], run["device memory, GB"] or run["host memory, GB"]
            parts = f" in {run['accumulate']} parts" if run["accumulate"] > 1 else ""
            step = f"{seconds['median']:.2f} s ({seconds['min']:.2f} - {seconds['max']:.2f})"
            speed = f"{run['items a second']:.2g}" if run["items a second"] < 10 else f"{run['items a second']:.0f}"
            batch = f"{run['batch']}{parts}"
            lines.append([run["recipe"], device, run["precision"], batch, step, speed, f"{memory:.1f} GB"])
    head = ["recipe", "device", "precision", "batch", "a step, median (least - most)", "items a second", "memory"]
    return "\n".join(_table(head, lines))


def describe_table() -> str:
    """What the words of `mmr describe` are worth."""
    figures = load("describe")["figures"]
    sets = {**figures["pages"], "demo songs": figures["songs"]}
    rows = []
    for name, found in sets.items():
        moods, first = found["moods"], found["first mood in the caption"]
        low, high = moods["auc interval"]
        rows.append(
            [
                name,
                f"{moods['auc']:.2f} [{low:.2f}, {high:.2f}]",
                f"{first['captions that name one']:.2f}",
                f"{first['of these right']:.2f}",
                f"{first['by chance']:.2f}",
            ]
        )
    head = ["", "words of mood, AUC", "captions that name a mood", "of these right", "by chance"]
    return "\n".join(_table(head, rows))


def hosting_table() -> str:
    """What mmr costs the program that it is built into."""
    result = load("hosting")
    figures = result["figures"]
    rows = [
        [row["step"], "" if row["budget"] is None else duration(row["budget"]), *_median_and_spread(row)]
        for row in figures["steps"]
    ]
    rest = figures["processor seconds while idle"]
    told = ", ".join(f"{what} {1000 * seconds:.1f} ms" for what, seconds in rest.items())
    return "\n".join(
        [
            f"{result['host']['processor']}, one thread, {figures['rounds']} rounds:",
            "",
            *_table(["step", "promised", "median", "5 % - 95 %"], rows),
            "",
            f"Processor time in {figures['idle seconds']:.0f} idle seconds: {told}. A host with an open `Session` has "
            f"{figures['threads of a host with a Session']} threads.",
        ]
    )


def reader_table() -> str:
    """How long the reader's window waits while a volume is read."""
    figures = load("reader")["figures"]
    phases = {
        "indexing": "songs are indexed, nothing prepared",
        "turning, while the volume is read ahead": "pages are turned while the volume is read ahead",
        "turning, planned": "pages are turned fast, by the plan",
        "correcting": "a song is banned, another pinned",
        "restarted": "started again, read through",
    }
    rows = []
    for phase, label in phases.items():
        gaps = figures["milliseconds between events"][phase]
        rows.append([label, *(f"{gaps[key]:.0f} ms" for key in ("median", "p99", "max")), str(gaps["above 50"])])
    decided = figures["milliseconds until a page's song is decided"]
    return "\n".join(
        [
            *_table(["between two events of the window", "median", "99 %", "longest", "above 50 ms"], rows),
            "",
            f"{figures['pages']} pages, {figures['songs']} songs. A page's song was known {decided['median']:.0f}"
            f" ms after its turning (at most {decided['max']:.0f} ms). Processor time in ten idle seconds: "
            f"{1000 * figures['processor seconds in ten idle ones']:.1f} ms.",
        ]
    )


def size_table() -> str:
    """What an installation takes on disk."""
    figures = load("size")["figures"]
    rows = []
    for extra, name in (("cpu", "`mmr-runtime[cpu]`"), ("reader", "`mmr-runtime[cpu,reader]`")):
        found = figures[extra]
        largest = sorted(found["distributions"].items(), key=lambda item: -item[1]["bytes"])[:4]
        parts = ", ".join(f"{package} {size['bytes'] / 1e6:.0f}" for package, size in largest)
        own = f"{found['of them mmr'] / 1e6:.1f} MB"
        rows.append([name, f"{found['bytes'] / 1e6:.0f} MB", own, parts, f"{found['byte code'] / 1e6:.0f} MB"])
    head = ["installed", "files", "of them mmr with its model", "largest, MB", "byte code beside"]
    return "\n".join([*_table(head, rows), "", f"The wheel has {figures['cpu']['wheel bytes'] / 1e6:.1f} MB."])


def pytorch_table() -> str:
    """Full-size AudioCLIP beside PyTorch."""
    figures = load("bench_full")["figures"]
    known, variants = Figures(figures), [PYTORCH, *figures["precisions"]]
    head = ["work", "PyTorch, eager float32", *(h for p in variants[1:] for h in (p, f"{p}, better by"))]
    rows = []
    for kind, name in (("warm", "window"), ("warm", "image encoder"), ("warm", "text"), ("cold", "later run")):
        label = (known.stages if kind == "warm" else known.programs)[name]
        measured = [known.row(kind, name, variant) for variant in variants]
        factors = [times(known.ratio(kind, name, variant, PYTORCH)) for variant in variants[1:]]
        rows.append([label, *_beside([row and duration(row["seconds"]["p50"]) for row in measured], factors)])
    peaks = [row and row["peak_mib"] for row in (known.row("cold", "later run", variant) for variant in variants)]
    sizes = [figures["bytes"][variant] / 1e6 for variant in ("checkpoint", *variants[1:])]
    for label, unit, values in (("peak memory of that process", "MiB", peaks), ("on disk", "MB", sizes)):
        factors = [f"{values[0] / value:.1f}x" if value else "" for value in values[1:]]
        rows.append([label, *_beside([value and f"{value:.0f} {unit}" for value in values], factors)])
    return "\n".join(_table(head, rows))


def _beside(values: list[str | None], factors: list[str]) -> list[str]:
    """The first value, then each other one with its factor; nothing where there is none."""
    pairs = zip(values[1:], factors, strict=True)
    return [values[0] or "", *(cell for value, factor in pairs for cell in ((value, factor) if value else ("", "")))]


def _median_and_spread(row: dict[str, Any]) -> list[str]:
    low, median, high = (duration(row["seconds"][p]) for p in ("p5", "p50", "p95"))
    return [median, f"{low.removesuffix(' ms')} - {high}" if high.endswith(" ms") else f"{low} - {high}"]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    first, *others = (f"| {' | '.join(cells)} |" for cells in (head, *rows))
    return [first, "|" + "---|" * len(head), *others]


def int8_table() -> str:
    """What int8 costs the towers of the default model, by the way of rounding."""
    towers = {tower: load(f"int8_{tower}")["figures"]["noise"] for tower in ("image", "audio")}
    kinds = ("integer arithmetic", "the kernels here")
    head = ["weights", *(f"{tower}, {kind}" for tower in towers for kind in kinds)]
    rows = [
        [way, *(f"{noise[way][kind]:.4f}" for noise in towers.values() for kind in kinds)] for way in towers["image"]
    ]
    return "\n".join(_table(head, rows))


TABLES = {
    "figures": speed_table,
    "quality": quality_table,
    "gap": gap_table,
    "listening": listening_table,
    "summary": summary_table,
    "soundtracks": soundtrack_table,
    "lettering": lettering_table,
    "library": library_table,
    "scale": scale_table,
    "about": about_table,
    "loudness": loudness_table,
    "training": training_table,
    "describe": describe_table,
    "hosting": hosting_table,
    "reader": reader_table,
    "size": size_table,
    "pytorch": pytorch_table,
    "int8": int8_table,
}


def rendered(text: str) -> str:
    """The document with every table made anew."""
    for name, make in TABLES.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if block.search(text):
            table = make()
            text = block.sub(lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text)
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if a document does not agree with the results.")
def main(check: bool) -> None:
    """Bring the documents up to date with the stored results."""
    for path in DOCUMENTS:
        old = path.read_text(encoding="utf-8")
        new = rendered(old)
        if check and new != old:
            raise click.ClickException(f"{path.name} does not agree with benchmarks/results: run benchmarks/report.py")
        if new != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()

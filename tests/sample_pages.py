"""A page with every part and every chart there is, some of them with more than comfortably fits."""

import csv
import random
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from recovery_cli.pages import charts
from recovery_cli.pages.backtest import backtest_page
from recovery_cli.pages.charts import Bin, Box, Estimate, Mark, Pair, Point
from recovery_cli.pages.diff import diff_page
from recovery_cli.pages.page import Section, Tile, chart, code, details, listed, note, page, paragraph, table, tiles
from recovery_cli.pages.sweep import sweep_page
from recovery_engine import SweepRange, backtest, diff_policies, parse_policy, shipped_policies, sweep

NASTY = "<script>alert('x')</script> & \"$20.00 or $30.00\""
LONG = "a refund at a site that has a rather long name, with severity major or critical, and a bill of at least $100.00"

dollars = charts.money("USD")
CURVE = [(at * 250, 1 - 0.7 * 0.96**at) for at in range(100)]
PAIRS = [
    Pair("settled on the spot", 7_640, 8_310, 8_150, 8_460),
    Pair("sent to a supervisor", 1_800, 1_200),
    Pair(LONG, 400, 330),
    Pair("denied", 160, 160),
]
ESTIMATES = [
    Estimate("London", -0.03, -0.06, 0.01),
    Estimate("Kyoto", 0.012, -0.02, 0.04),
    Estimate(LONG, 0.05, 0.02, 0.081),
]
BINS = [Bin(at * 500, at * 500 + 500, 300 if at == 19 else 60 - at) for at in range(50)]
BOXES = [
    Box(f"1 wider: {LONG}, for everybody who may ask for it, and with the receipt on file", [(5_001, 7_500)], "wider"),
    Box("2 narrower: comp item", [(0, 2_000), (3_000, 4_000)], "narrower"),
    Box("3 sideways: what is owed", [(7_501, None)], "sideways"),
    Box("4 wider: one amount only", [(5_000, 5_000)], "wider"),
]
POINTS = [Point(at * 90_000, at * 37 % 60 / 100, False) for at in range(1, 60)] + [
    Point(at * 500_000, 0.6 + at / 30, True, f"${25 * at} and ${50 * at}" if at in (1, 5, 9) else "")
    for at in range(1, 11)
]


def every_part() -> str:
    """The page."""
    rate = table("On-the-spot rate", ["limit", "rate"], [[dollars(at), charts.share(it)] for at, it in CURVE], 1)
    wide = table("Many columns", ["site", *(f"column {n}" for n in range(12))], [[LONG, *["$1,234.50"] * 12]] * 3, 12)
    long = table("More rows than a page should have", ["case"], [[f"C-{n}"] for n in range(1, 251)])
    marks = [Mark(5_000, "now $50.00"), Mark(5_600, "knee $56.00"), Mark(20_000, "asked for $200.00")]
    sections = [
        Section(
            "On the spot",
            [
                tiles([Tile("On the spot", "83.1%", "then 76.4%"), Tile("Paid", "$48,210.00"), Tile("Up", "12 a day")]),
                chart(
                    "The rate against the limit",
                    "It rises to 83.1% at $56.00.",
                    charts.step_curve("rate", CURVE, marks, dollars, charts.share),
                    rate,
                ),
                chart(
                    "Who decides",
                    "Fewer go up.",
                    charts.before_after("who", PAIRS, charts.number, "then", "with the draft"),
                    rate,
                ),
            ],
        ),
        Section(
            NASTY,
            [
                note("Before you believe it", paragraph(NASTY), listed([LONG, code("recovery what-if --amount 5")])),
                chart(
                    NASTY,
                    NASTY,
                    charts.before_after("nasty", [Pair(NASTY, 1, 2)], charts.number, "then", NASTY[:12]),
                    rate,
                ),
                chart(
                    "Change by site",
                    "Better in Kyoto.",
                    charts.estimates("sites", ESTIMATES, charts.points, Mark(0, "no change")),
                    rate,
                ),
                chart("Amounts", "Most just below $100.00.", charts.histogram("amounts", BINS, marks, "USD"), rate),
            ],
        ),
        Section(
            "Regions",
            [
                chart("What changes", "Four regions.", charts.boxes("regions", BOXES, "USD"), wide),
                chart(
                    "Two limits at once",
                    "Ten pairs are not beaten.",
                    charts.frontier(
                        "pairs", POINTS, "paid without a second look", "settled on the spot", dollars, charts.share
                    ),
                    rate,
                ),
                wide,
                details("Every case", long),
            ],
        ),
    ]
    return page(
        "Sample", "A draft against what happened", "More is settled on the spot.", sections, "Made from nothing."
    )


def hotel_draft() -> str:
    """The hotel's policy with limits of the front desk changed, one up, one down, and more for a day."""
    text = shipped_policies()["hotel"].read_text(encoding="utf-8")
    for was, now in (
        (r"total:( +\[ *)30,", r"total:\g<1>75,"),
        (r"total:( +\[ *)60,", r"total:\g<1>50,"),
        (r"(desk-day.*amount: )150", r"\g<1>160"),
    ):
        text, times = re.subn(was, now, text, count=1)
        assert times == 1
    return text[: text.index("\ntests:")]


def of_a_diff() -> str:
    """The page of a diff."""
    policies = parse_policy(shipped_policies()["hotel"].read_text(encoding="utf-8")), parse_policy(hotel_draft())
    return diff_page(diff_policies(*policies), policies, ("hotel", "draft.yaml"))


def of_no_difference() -> str:
    """The page of a policy compared with itself."""
    policy = parse_policy(shipped_policies()["classic"].read_text(encoding="utf-8"))
    return diff_page(diff_policies(policy, policy), (policy, policy), ("classic", "classic"))


FRONTLINE, SUPERVISOR = "authority-1/total/frontline", "authority-1/total/supervisor"


def write_history(path: Path, requests: int = 1_500) -> Path:
    """A quarter of refunds under a limit of $80.00, many just below $100.00; some that no policy can decide."""
    chance = random.Random(3)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow("recovery,day,role,employee,site,remedy,category,amount,outcome,to".split(","))
        for at in range(requests):
            cents = (
                int(100 * chance.lognormvariate(4, 0.9)) if chance.random() < 0.85 else 9_500 + chance.randrange(500)
            )
            outcome = ["approve", ""] if cents <= 8_000 else ["escalate", "supervisor"]
            asked = [f"R-{at}", f"2026-0{1 + at // 501}-{1 + at % 28:02d}", "frontline" if at % 500 else "intern"]
            where = [f"emp-{chance.randrange(40)}", chance.choice(["London", "Kyoto", NASTY])]
            rows.writerow(
                [*asked, *where, "refund", chance.choice(["late", "billing"]), f"{cents / 100:.2f}", *outcome]
            )
    return path


def of_history(report: str) -> str:
    """The page of a back-test, of one of a sample, of a sweep, or of a sweep of two limits."""
    classic = parse_policy(shipped_policies()["classic"].read_text(encoding="utf-8"))
    with TemporaryDirectory() as folder:
        history = write_history(Path(folder) / "history.csv")
        if report == "sweep":
            return sweep_page(sweep(classic, history, SweepRange(FRONTLINE, "0", "249")))
        if report == "two limits":
            ranges = SweepRange(FRONTLINE, "20", "200"), SweepRange(SUPERVISOR, "100", "400")
            return sweep_page(sweep(classic, history, *ranges, steps=12))
        return backtest_page(backtest(classic, history, is_sample=report == "sample"))

"""`recovery log report`: every grant of a month that comes to at least so much, and who made it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import rich_click as click
from rich.text import Text

from recovery_cli.databases import database_option, file_option, reading
from recovery_cli.documents import document, row_document
from recovery_cli.files import STANDARD_STREAM, WholeLines, keep_apart
from recovery_cli.filtering import asked, currency_of, currency_option, read_amount
from recovery_cli.listing import became
from recovery_cli.options import json_option
from recovery_cli.render import Figures, console, in_words, plain, print_indented, print_json
from recovery_cli.rows import csv_line

if TYPE_CHECKING:
    from recovery_engine import AuditRow, GrantReport, PersonTotal

COLUMNS = (
    *("granted_on", "granted_at", "recovery", "case_id", "receipt", "site", "employee", "employee_role", "approved_by"),
    *("approver_role", "customer", "remedy_granted", "currency", "amount_granted", "amount_asked", "basis", "category"),
    *("severity", "reason", "deciding_lines", "status", "closed_at", "closed_by", "closed_reason"),
    *("payment_reference", "policy_digest", "log_stream", "log_seq"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@click.command("report")
@database_option
@click.option("--at-least", required=True, metavar="AMOUNT", help="Grants of so much or more.")
@click.option("--month", required=True, metavar="MONTH", help="Of the grant, by business days, such as `2026-11`.")
@currency_option
@file_option("--csv", "csv_file", metavar="FILE|-", help="Write the grants as CSV.")
@json_option
@click.pass_context
def command(
    ctx: click.RichContext,
    database: str,
    at_least: str,
    month: str,
    currency: str | None,
    csv_file: str | None,
    as_json: bool,
) -> None:
    """Report every grant of a month that comes to an amount or more: by whom, approved by whom, why.

    A grant that was voided is shown as such and counted apart.

    \b
    Examples:
      recovery log report --at-least 100 --month 2026-11
      recovery log report --at-least 100 --month 2026-11 --csv november.csv
      recovery log report --at-least 100 --month 2026-11 --json
    """
    if as_json and csv_file == STANDARD_STREAM:
        raise click.UsageError("--json and --csv - both go to stdout: name a file for one", ctx)
    keep_apart("--csv", csv_file, [database])
    with reading(database) as log:
        with asked():
            least = read_amount("at-least", at_least, currency_of(log, currency))
            report = log.at_least(least, month)
        if csv_file:
            grants = list(_written(report, csv_file))
        else:
            grants = list(report.grants)
    if as_json:
        print_json(_document(report, grants))
    elif csv_file != STANDARD_STREAM:
        _show(report, grants)


def _written(report: "GrantReport", name: str) -> "Iterator[AuditRow]":
    """The grants, each written as a line of CSV when it comes."""
    sink = WholeLines(name)
    try:
        sink.write(csv_line(list(COLUMNS)))
        for row in report.grants:
            cells = row_document(row)
            sink.write(csv_line([_not_a_formula(_joined(cells[name])) for name in COLUMNS]))
            yield row
        sink.finish()
    except BaseException:
        sink.discard()
        raise
    finally:
        sink.close()


def _joined(cell: object) -> object:
    return " ".join(cell) if isinstance(cell, list) else cell


def _not_a_formula(cell: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _document(report: "GrantReport", grants: "list[AuditRow]") -> dict[str, object]:
    return {
        "month": report.month,
        "currency": report.least.currency,
        "at_least": report.least.decimal,
        "total": {name: value for name, value in document(report.total).items() if name != "person"},
        "by_employee": document(report.by_employee),
        "by_approver": document(report.by_approver),
        "grants": [row_document(row) for row in grants],
    }


def _show(report: "GrantReport", grants: "list[AuditRow]") -> None:
    out, total = console(), report.total
    heading = f"Grants of {report.least} or more in {report.month}: {total.grants:,}, {total.granted}"
    voided = f"; voided {total.voids:,}, {total.voided}" if total.voids else ""
    out.print(Text(heading + voided, "bold"))
    for row in grants:
        out.print()
        out.print(Text.assemble((plain(row.recovery), "bold"), f"  {row.granted} {in_words(row.granted_remedy or '')}"))
        for line in _lines(row):
            print_indented(out, f"  {line}")
    for name, totals in (("asked for by", report.by_employee), ("granted by", report.by_approver)):
        if totals:
            out.print()
            out.print(_totals(name, totals))


def _lines(row: "AuditRow") -> Iterator[str]:
    """Where and when, by whom, why."""
    yield f"{row.granted_bday}  {row.site or 'no site'}  case {row.case_id}  {became(row)}"
    asked_by = f"asked for by {row.employee} ({in_words(row.role)})"
    acting = f" for {row.on_behalf}" if row.on_behalf else ""
    second = f", with {row.second_by}" if row.second_by else ""
    yield f"{asked_by}, granted by {row.approver} ({in_words(row.approver_role or '')}{acting}){second}"
    why = [in_words(word) for word in (row.category, row.severity, row.reason) if word]
    yield f"because of {', '.join(why) or 'nothing said'}; decided by {', '.join(row.lines)}"


def _totals(name: str, totals: "tuple[PersonTotal, ...]") -> Figures:
    made = Figures(name, "grants", "granted", "voids", "voided")
    for one in totals:
        voids = (f"{one.voids:,}", str(one.voided)) if one.voids else ("", "")
        made.add_row(plain(one.person), f"{one.grants:,}", str(one.granted), *voids)
    return made

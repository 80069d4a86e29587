"""What no text may hold: card numbers, their security codes, PINs. Found before anything is written.

A card number is 13 to 19 digits that pass the Luhn check (ISO/IEC 7812-1), in any decimal digits of Unicode, grouped in
any way, whatever stands around it; over several lines, in groups of four digits or more, or of which each has a line of
its own. One number in ten passes by chance: an order number, EAN or airline ticket of that length may be refused too,
and an IMEI always is. Letters do not help such a number; fewer than 13 digits do, or a comma or colon among them. What
is certainly no card is let through: UUIDs, hashes, dates and times, padding with zeros.
"""

import re
import unicodedata
from collections.abc import Iterator

CARD_NUMBER = "looks like a card number"
SECURITY_CODE = "looks like a card's security code"
PIN = "looks like a PIN"


def forbidden(text: str) -> str | None:
    """Why *text* must not be stored, in words that never repeat it; None where nothing forbids it.

    >>> forbidden("paid with 4111-1111-1111-1111")
    'looks like a card number'
    >>> forbidden("order 4711, table 12")
    """
    plain = _plain(text)
    if len(plain) >= _SHORTEST <= _digits_in(plain) and _STRETCH.search(plain) and _holds_card(plain):
        return CARD_NUMBER
    return _code_in(plain) if _CODE_WORD.search(plain) else None


def _plain(text: str) -> str:
    """The text in lower case, without accents, with ASCII digits."""
    if text.isascii():
        return text.lower()
    unmarked = _MARK.sub("", unicodedata.normalize("NFKD", text))
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), unmarked).lower()


_MARK = re.compile("[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]")  # accents, and what makes a digit a keycap
_OTHER_DIGIT = re.compile(r"[^\D0-9]")

# --- card numbers -----------------------------------------------------------------------------------------------------

_SHORTEST, _LONGEST = 13, 19

# What people put between the groups of a number: one or two spaces, a dash with or without spaces, a dot, a slash, ...
# ` / `, a comma or a colon stands between two numbers: two telephone numbers are not one card. So does a line end, or
# many spaces, unless the groups are those of a card.
_SPACE = " \t\u1680"  # every other space of Unicode is one of these by now
_DASH = (
    "-\u2010-\u2015\u2043\u2212\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d"
    "\u058a\u05be\u1400\u1806\u301c\u3030\u30a0\u30fc\U00010ead"
)
_JOIN = "._|/\\\\\u00b7\u2022\u2027\u2044\u2215\u2219\u22c5\u30fb"
_UNSEEN = "\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"
_GAP = f"[{_UNSEEN}]{{0,3}}(?:[{_SPACE}]?[{_DASH}][{_SPACE}]?|[{_SPACE}]{{1,2}}|[{_JOIN}])?[{_UNSEEN}]{{0,3}}"
_ANY_GAP = f"[{_UNSEEN}]{{0,3}}(?:\\s*+[{_DASH}]?\\s*+|[{_JOIN}])[{_UNSEEN}]{{0,3}}"
_STRETCH = re.compile(f"[0-9](?:{_ANY_GAP}[0-9]){{{_SHORTEST - 1},}}")

_LINE_END = re.compile(f"(?<=[0-9])(?!{_GAP}[0-9])[^0-9]+")  # in a stretch
_GROUP = re.compile("[0-9]+")

_MONTH, _DAY = "(?:0[1-9]|1[0-2])", "(?:0[1-9]|[12][0-9]|3[01])"
_ID_OR_TIME = re.compile(
    rf"""
    (?P<id> (?<![0-9a-z]) (?: [0-9a-f]{{8}} (?:-[0-9a-f]{{4}}){{3}} -[0-9a-f]{{12}}              # a UUID
                            | c_[0-9a-f]{{20}}                                                   # a customer's token
                            | [0-9a-f]{{24}} | [0-9a-f]{{32}} | [0-9a-f]{{40}} | [0-9a-f]{{64}}  # an object id, a hash
                            ) (?![0-9a-z]))
    | (?<![0-9]) (?: 20[0-9]{{2}} (?P<iso>[-./]) {_MONTH} (?P=iso) {_DAY}                        # 2026-11-21
                   | {_DAY} (?P<day>[-./]) {_DAY} (?P=day) 20[0-9]{{2}}                          # 21.11.2026
                   | 20[0-9]{{2}} {_MONTH} {_DAY} [0-9]*                                         # 20261121093000
                   | 1[6-9] (?: [0-9]{{11}} | [0-9]{{14}} )                                      # Unix time in ms, us
                   ) (?![0-9])
    """,
    re.VERBOSE,
)
_LEAD = re.compile(rf"(?:[0-9]{_GAP}){{6}}\Z")


def _digits_in(plain: str) -> int:
    """How many digits a text has: most have too few for a card, and that is quick to see."""
    return len(plain) - len(plain.translate(_WITHOUT_DIGITS))


_WITHOUT_DIGITS = str.maketrans("", "", "0123456789")


def _holds_card(plain: str) -> bool:
    return any(_is_card(digits) for digits in _candidates(_ID_OR_TIME.sub(_set_apart, plain)))


def _set_apart(found: re.Match[str]) -> str:
    """A letter in place of an id or a time, or the text itself where it goes on a number that has begun before.

    No issuer's numbers begin as these times do. Within a number, such digits are chance: 35660020 20360505.
    """
    before = found.string[max(found.start() - 60, 0) : found.start()]
    goes_on = before.endswith(found["iso"] or found["day"] or "") and _LEAD.search(before)
    return found[0] if goes_on and not found["id"] else "x"


def _candidates(plain: str) -> Iterator[str]:
    """The digits of every sequence of neighbouring groups that may be a card number."""
    for stretch in _STRETCH.finditer(plain):
        lines = [_GROUP.findall(line) for line in _LINE_END.split(stretch[0])]
        for line in lines:
            yield from _neighbours(line)
        if len(lines) > 1:
            yield from _neighbours(
                [group if len(group) >= 4 or line == [group] else "" for line in lines for group in line]
            )


def _neighbours(groups: list[str]) -> Iterator[str]:
    """The digits of every sequence of groups that is as long as a card number; an empty one parts those around it."""
    for first in range(len(groups)):
        digits = ""
        for group in groups[first : first + _LONGEST]:
            digits += group
            if not group or len(digits) > _LONGEST:
                break
            if len(digits) >= _SHORTEST:
                yield digits


def _is_card(digits: str) -> bool:
    """Whether the digits, without zeros in front, are long enough and pass the Luhn check."""
    if len(digits.lstrip("0")) < _SHORTEST:
        return False
    return sum(map(int, digits[-1::-2] + digits[-2::-2].translate(_DOUBLED))) % 10 == 0


_DOUBLED = str.maketrans("0123456789", "0246813579")  # twice the digit, as the sum of its digits

# --- codes ------------------------------------------------------------------------------------------------------------

# A word, then perhaps a few small words, then the digits. The words stand here without accents.
_SECURITY_CODE_WORDS = (
    r"cv[cnv]2?(?:code|nummer)?",
    r"(?:cid|csc)(?![-_]?[0-9])",  # CID-4471 is an id
    r"security code|card verification (?:code|value)",
    r"sicherheitscode|prue?f(?:nummer|ziffer)|kartenprue?fnummer|kreditkartenprue?fnummer",
    r"cryptogramme(?: visuel)?|code de securite",
    r"codigo de seguridad|codigo de seguranca|codice di sicurezza",
    r"beveiligingscode",
)
_PIN_WORDS = (
    r"pin(?:code|nummer)?",  # India calls its postal codes so too: PIN 560001 is refused
    r"geheimzahl",
    r"code (?:secret|confidentiel)",
    r"clave secreta|codigo secreto|codice segreto",
)
_SMALL_WORDS = (
    r"code|number|nummer|numero|num|no\.?|nr\.?|n|is|was|ist|war|lautet|est|es|e|now|set|reset|changed|to"
    r"|on the back(?: of the card)?"
)

# A full stop, comma, ... with a space after it ends the thought: "lost the PIN, 1234 Main Street".
_BESIDE = r"(?:(?![.,;!?]\s)[\W_])"
_NO_DATE = "(?!20[0-9]{2}-[01][0-9]-)"


def _code_in(plain: str) -> str | None:
    for reason, pattern in _CODES.items():
        if any(not plain[found.start() - 1 : found.start()].isalnum() for found in pattern.finditer(plain)):
            return reason
    return None


def _code(words: tuple[str, ...], fewest: int, most: int) -> re.Pattern[str]:
    digits = rf"[0-9](?:[ -]?[0-9]){{{fewest - 1},{most - 1}}}(?![0-9])"
    between = rf"(?:{_BESIDE}{{1,3}}(?:{_SMALL_WORDS})){{0,3}}{_BESIDE}{{0,3}}"
    return re.compile(rf"(?:{'|'.join(words)}){between}{_NO_DATE}{digits}")


_CODES = {SECURITY_CODE: _code(_SECURITY_CODE_WORDS, 3, 4), PIN: _code(_PIN_WORDS, 4, 12)}
_CODE_WORD = re.compile("|".join((*_SECURITY_CODE_WORDS, *_PIN_WORDS)))  # most texts have none: that is quick to see

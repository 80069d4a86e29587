"""Money: integer minor units (cents, pence, yen, fils) and an ISO 4217 currency. Never a float."""

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, total_ordering

from recovery_engine.errors import Diagnostic, InvalidRequest

# Digits after the decimal point where they are not two. Source: ISO 4217, list one (table A.1). CLDR, and so babel,
# says 0 for some of these and for several two-digit currencies, because it describes cash in shops, not accounts.
_DIGITS: dict[str, int] = dict.fromkeys(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0
)
_DIGITS |= dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3)
_DIGITS |= dict.fromkeys("CLF UYW".split(), 4)

CURRENCIES = frozenset(
    """AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD
    LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP
    TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG""".split()
)
"""The codes of money in use, funds codes included. Source: ISO 4217, list one."""

MAX_MINOR = 2**53 - 1
"""The largest amount, in minor units, inclusive: beyond it JSON readers and the rule network lose exactness."""

_SIGNS = "$£€¥₹"

_AMOUNT = re.compile(r"(\d{1,3}(?:,\d{3})+|0|[1-9]\d*)(?:\.(\d+))?", re.ASCII)


class NotAnAmount(ValueError):
    """A text that is not an amount of money; ``help`` says what to write instead."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message, self.help = message, help


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of an ISO 4217 currency: ``Money(1850, "USD")`` is $18.50."""

    minor: int
    currency: str

    @classmethod
    def of(cls, amount: "str | int | Decimal", currency: str) -> "Money":
        """Read an amount in major units, exactly as a policy does: ``Money.of("18.50", "USD")``.

        Raises InvalidRequest for anything that is not an exact amount: floats, exponents, too many digits.

        >>> Money.of("1,000.00", "USD").minor
        100000
        """
        try:
            if currency not in CURRENCIES:
                raise NotAnAmount(f"`{currency}` is not a currency", "give an ISO 4217 code such as `USD`")
            if isinstance(amount, bool) or not isinstance(amount, str | int | Decimal):
                raise NotAnAmount(f"an amount is text, an int or a Decimal, not a {type(amount).__name__}", "quote it")
            if isinstance(amount, Decimal) and amount.is_finite() and abs(amount.adjusted()) < 30:
                return cls(parse_amount(format(amount, "f"), currency), currency)
            return cls(parse_amount(str(amount), currency), currency)
        except NotAnAmount as problem:
            raise InvalidRequest([Diagnostic("RQ002", "error", "amount", problem.message, problem.help)]) from None

    def __lt__(self, other: "Money") -> bool:
        if self.currency != other.currency:
            raise TypeError(f"{self.currency} and {other.currency} cannot be compared")
        return self.minor < other.minor

    def __str__(self) -> str:
        return format_minor(self.minor, self.currency)

    @property
    def decimal(self) -> str:
        """The amount in major units as plain text, for CSV and JSON: ``18.50``."""
        return decimal_text(self.minor, self.currency)


def digits_of(currency: str) -> int:
    """How many digits the currency has after its decimal point."""
    return _DIGITS.get(currency, 2)


def parse_amount(text: str, currency: str) -> int:
    """Minor units of an amount written in major units; raises NotAnAmount with the cure.

    One parser serves policies, requests and the command line: ``100``, ``100.5``, ``1,000.00``, ``$100``,
    ``USD 100`` and ``100 USD`` are amounts; ``1e3``, ``1_000``, ``-5`` and ``100.005`` (for USD) are not.
    """
    bare, digits = _without_currency(text.strip(" "), currency), digits_of(currency)
    match = _AMOUNT.fullmatch(bare)
    if match is None:
        raise NotAnAmount(f"`{_short(text)}` is not an amount", _suggest(bare, currency))
    whole, fraction = match[1].replace(",", ""), match[2] or ""
    if len(fraction) > digits:
        down = f"{whole}.{fraction[:digits]}" if digits else whole
        message = f"`{_short(text)}` has more than {digits} decimals, which {currency} does not have"
        raise NotAnAmount(message, f"write `{_short(down)}`")
    minor = int(whole[:20] + fraction.ljust(digits, "0"))
    if len(whole) > 20 or minor > MAX_MINOR:
        raise NotAnAmount(f"`{_short(text)}` is too large", f"at most {format_minor(MAX_MINOR, currency)}")
    return minor


def decimal_text(minor: int, currency: str) -> str:
    """Minor units as plain decimal text, such as ``18.50``."""
    digits = digits_of(currency)
    sign, text = "-" if minor < 0 else "", str(abs(minor)).rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"


def format_minor(minor: int, currency: str) -> str:
    """Minor units for people, such as ``$1,850.00``."""
    whole, point, fraction = decimal_text(abs(minor), currency).partition(".")
    symbol = _symbol(currency)
    gap = " " if symbol[-1].isalpha() else ""
    return f"{'-' if minor < 0 else ''}{symbol}{gap}{int(whole):,}{point}{fraction}"


@lru_cache
def _symbol(currency: str) -> str:
    from babel.numbers import get_currency_symbol  # costs 50 ms to import: only when money is shown

    return str(get_currency_symbol(currency, locale="en_US"))


def _without_currency(text: str, currency: str) -> str:
    if text[:1].isdigit() and text[-1:].isdigit():
        return text
    symbol = _symbol(currency)
    narrow = symbol[-1] if symbol[-1] in _SIGNS else symbol
    for mark in (symbol, narrow, currency):
        if text.startswith(mark):
            return text.removeprefix(mark).strip(" ")
        if text.endswith(mark):
            return text.removesuffix(mark).strip(" ")
    if {text[:1], text[-1:]} & set(_SIGNS):
        raise NotAnAmount(f"`{_short(text)}` is not in {currency}", f"amounts here are in {currency}")
    words = set(re.findall(r"[A-Z]{3}", text)) & CURRENCIES
    if words:
        raise NotAnAmount(f"`{_short(text)}` is in {min(words)}", f"amounts here are in {currency}")
    return text


def _suggest(text: str, currency: str) -> str:
    """The nearest text that is an amount, when it is plain what was meant."""
    plain = "".join(str(unicodedata.decimal(char, char)) for char in text)
    plain = plain.replace("_", "").replace(" ", "").replace("'", "")
    if re.fullmatch(r"\d{1,16}e\+?\d{1,2}", plain, re.IGNORECASE):
        base, _, exponent = plain.lower().partition("e")
        plain = str(int(base) * 10 ** int(exponent))
    if re.fullmatch(r"\d{1,3}(\.\d{3})*,\d{1,2}", plain):
        plain = plain.replace(".", "").replace(",", ".")
    plain = plain.rstrip(".")
    plain = "0" + plain if plain.startswith(".") else plain
    plain = plain.lstrip("0") or plain[-1:] if plain.isdigit() else plain
    match = _AMOUNT.fullmatch(plain)
    if match and len(match[2] or "") <= digits_of(currency) and int(match[1].replace(",", "")[:20]) < MAX_MINOR // 1000:
        return f"write `{plain}`"
    if plain.startswith(("-", "\u2212")):
        return "an amount is never negative"
    if not digits_of(currency):
        return f"write whole {currency} such as `100`"
    return f"write an amount of {currency} such as `100` or `100.50`"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."

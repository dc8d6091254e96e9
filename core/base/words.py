"""Nouns and counts in sentences: the one plural of every message, table and page."""

from __future__ import annotations

__all__ = ["NOT_A_DEVICE", "SHORTCUTS", "apart", "percent", "plural", "quantity", "without_marks"]

NBSP = "\N{NO-BREAK SPACE}"
# Of whatever is about people; see ``App.about_people``.
NOT_A_DEVICE = "For research use; not a medical device."
# What the audit predicts a label from, each alone.
SHORTCUTS = {
    "file": "size, bytes and format of the file",
    "colour": "the mean colour or brightness",
    "border": "twelve patches along the border",
}
# Spaces without width, joiners of words, soft hyphens, marks of direction and of byte order.
_INVISIBLE = dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xAD, 0x200E, 0x200F, 0x202A, 0x202C))


# Nouns that follow no rule: what groups are called in tables of users.
IRREGULAR = {
    **{"child": "children", "man": "men", "mouse": "mice", "person": "people", "woman": "women"},
    **{"foot": "feet", "tooth": "teeth", "sheep": "sheep", "series": "series"},
}


def plural(word: str, n: float = 2) -> str:
    """A noun in its number.

    >>> [plural(word) for word in ("leaf", "patient", "study", "box", "class", "day")]
    ['leaves', 'patients', 'studies', 'boxes', 'classes', 'days']
    >>> plural("field", 1), plural("woman"), plural("pregnant woman"), plural("diagnosis")
    ('field', 'women', 'pregnant women', 'diagnoses')
    """
    if n == 1 or not word:
        return word
    start, space, noun = word.rpartition(" ")
    if noun in IRREGULAR:
        return start + space + IRREGULAR[noun]
    if word.endswith(("leaf", "half", "calf")):
        return word[:-1] + "ves"
    if word.endswith("sis"):
        return word[:-2] + "es"
    if word.endswith("y") and word[-2:-1] not in set("aeiou"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def without_marks(text: str) -> str:
    """Text without marks that nobody sees, as web pages and Word leave them.

    >>> without_marks("ru" + chr(0x200B) + "st" + chr(0xFEFF))
    'rust'
    """
    return text if text.isascii() else text.translate(_INVISIBLE)


def apart(*values: float, digits: int = 4) -> list[str]:
    """Numbers with so many decimals that unequal ones read unequal: a score and its threshold.

    >>> apart(0.25, 0.3), apart(0.40381, 0.403848)
    (['0.2500', '0.3000'], ['0.40381', '0.40385'])
    """
    # Beyond the digits of a float of the network nothing differs.
    for n in range(digits, 10):
        texts = [f"{value:.{n}f}" for value in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def quantity(n: float, word: str) -> str:
    """A count and what is counted.

    >>> quantity(1, "leaf"), quantity(1200, "leaf")
    ('1 leaf', '1,200 leaves')
    """
    return f"{int(n):,} {plural(word, int(n))}"


def percent(share: float | None, places: int = 0) -> str:
    """A share as a percentage, number and sign on one line; empty if there is none.

    >>> percent(0.4412).replace(NBSP, " "), percent(None)
    ('44 %', '')
    """
    return "" if share is None else f"{100 * share:.{places}f}{NBSP}%"

"""Roman numerals, both ways."""

VALUES = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
FORMS = {**VALUES, "CM": 900, "CD": 400, "XC": 90, "XL": 40, "IX": 9, "IV": 4}


def to_roman(number):
    """Return the Roman numeral of a number from 1 to 3999. Raises ValueError for any other."""
    if not 1 <= number <= 3999:
        raise ValueError(f"{number} has no Roman numeral: only 1 to 3999 have.")
    numeral = ""
    for form, value in sorted(FORMS.items(), key=lambda item: -item[1]):
        count, number = divmod(number, value)
        numeral += form * count
    return numeral


def from_roman(numeral):
    """Return the number that a Roman numeral stands for."""
    total = 0
    for letter, following in zip(numeral, numeral[1:] + " "):
        value = VALUES[letter]
        total += -value if VALUES.get(following, 0) > value else value
    return total

"""Roman numerals, both ways."""

VALUES = {"M": 1000, "D": 500, "C": 100, "L": 50, "X": 10, "V": 5, "I": 1}


def to_roman(number):
    """Return the Roman numeral of a whole number."""
    numeral = ""
    for letter, value in VALUES.items():
        while number >= value:
            numeral += letter
            number -= value
    return numeral


def from_roman(numeral):
    """Return the number that a Roman numeral stands for."""
    total = 0
    for letter, following in zip(numeral, numeral[1:] + " "):
        value = VALUES[letter]
        total += -value if VALUES.get(following, 0) > value else value
    return total

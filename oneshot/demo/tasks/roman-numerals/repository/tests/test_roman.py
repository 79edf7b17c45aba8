import unittest

from roman import from_roman, to_roman


class ToRoman(unittest.TestCase):
    def test_plain_numbers(self):
        self.assertEqual([to_roman(n) for n in (1, 3, 5, 8, 10, 1666)], ["I", "III", "V", "VIII", "X", "MDCLXVI"])


class FromRoman(unittest.TestCase):
    def test_reads_subtractive_forms(self):
        self.assertEqual(from_roman("MCMXCIV"), 1994)

    def test_reads_additive_forms(self):
        self.assertEqual(from_roman("IIII"), 4)

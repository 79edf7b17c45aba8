import unittest

from slugs import slugify


class Longest(unittest.TestCase):
    def test_cuts_between_words(self):
        self.assertEqual(slugify("Hello brave new World", longest=13), "hello-brave")

    def test_keeps_a_slug_that_fits_exactly(self):
        self.assertEqual(slugify("Hello brave", longest=11), "hello-brave")

    def test_never_ends_with_a_hyphen(self):
        self.assertEqual(slugify("Hello brave", longest=6), "hello")

    def test_cuts_a_first_word_that_is_too_long(self):
        self.assertEqual(slugify("Incomprehensible words", longest=6), "incomp")

    def test_refuses_less_than_one(self):
        with self.assertRaises(ValueError):
            slugify("Hello", longest=0)

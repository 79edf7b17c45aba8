import unittest

from slugs import slugify


class Slugify(unittest.TestCase):
    def test_joins_words_with_hyphens(self):
        self.assertEqual(slugify("Hello,  brave new World!"), "hello-brave-new-world")

    def test_of_nothing_is_empty(self):
        self.assertEqual(slugify("?!"), "")

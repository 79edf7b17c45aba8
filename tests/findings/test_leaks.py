"""The answer in the instructions."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.findings.leaks import RUN, WORD, answer_of, leaks_in

DIFF = """diff --git a/dunning/run.py b/dunning/run.py
--- a/dunning/run.py
+++ b/dunning/run.py
@@ -41,2 +41,8 @@ class DunningRun:
     def due_on(self) -> date:
-        return self.anchor + self.period
+        return next_banking_day(self.anchor + self.period, self.creditor.country)
+
+def next_banking_day(start: date, country: str) -> date | None:
+    for offset in range(8):
+        day = start + timedelta(days=offset)
+        if is_banking_day(day, country):
+            return day
"""
TESTS = [("tests/test_run.py", "def test_a_holiday_is_skipped():\n    pass\n")]
ANSWER = answer_of(DIFF, TESTS)


def titles(text: str) -> list[tuple[str, str]]:
    return [(found.title, found.severity) for found in leaks_in(text, ANSWER)]


def test_clean_instructions_have_no_finding() -> None:
    assert titles("A dunning run that falls on a bank holiday should move to the next banking day.") == []


def test_a_line_of_the_reference_blocks_and_is_marked_in_place() -> None:
    text = "Please use `for offset in range(8): day = start + timedelta(days=offset)` to look ahead."
    [found] = leaks_in(text, ANSWER)
    assert (found.severity, found.mend) == ("block", "cut")
    assert text[found.start : found.end] == "for offset in range(8): day = start + timedelta(days=offset"
    assert "10 words in a row" in found.message


def test_what_stood_there_before_is_no_answer() -> None:
    diff = " a b c d e f g h i j\n+a b c d e f g h i j\n"
    assert leaks_in("a b c d e f g h i j", answer_of(diff, [])) == []


def test_new_names_warn_unless_the_interface_section_says_them() -> None:
    assert titles("Write next_banking_day for this.") == [("New names of the reference", "warn")]
    assert titles("Move it.\n\n## Interface\n\n`next_banking_day(start, country)`\n") == []
    assert titles("## Interface\n\nnothing\n\n## Notes\n\nnext_banking_day\n") == [
        ("New names of the reference", "warn")
    ]


def test_names_of_hidden_tests_and_links_to_changes_warn() -> None:
    text = "See test_a_holiday_is_skipped and https://example.org/acme/x/pull/12 for more."
    assert titles(text) == [("Names of hidden tests", "warn"), ("A link to a change", "warn")]


def test_a_file_that_the_reference_adds_warns() -> None:
    diff = "diff --git a/pay/new.py b/pay/new.py\n--- /dev/null\n+++ b/pay/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    [found] = leaks_in("Put it into pay/new.py.", answer_of(diff, []))
    assert found.title == "Files that the reference adds"


def test_the_same_sentence_keeps_its_fingerprint_when_it_moves() -> None:
    leak = "for offset in range(8): day = start + timedelta(days=offset)"
    [before] = leaks_in(leak, ANSWER)
    [after] = leaks_in(f"First read this.\n\n{leak}", ANSWER)
    assert before.fingerprint() == after.fingerprint()
    assert before.place() != after.place()


words = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "rho"]), max_size=20)


@given(words, words, words)
def test_any_run_of_eight_words_of_the_answer_is_found_and_nothing_shorter(before, run, after) -> None:
    unique = [f"w{number}" for number in range(len(run))]
    text = " ".join([*before, *unique, *after])
    found = leaks_in(text, answer_of("+" + " ".join(unique) + "\n", []))
    long_enough = len(unique) >= RUN
    assert [f.title for f in found if f.severity == "block"] == ["The answer is in the instructions"] * long_enough
    if long_enough:
        assert WORD.findall(text[found[0].start : found[0].end]) == unique

"""Users' patterns say what Python's `re` says, in bounded time."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drumline.api.patterns import MAX_PATTERN, MAX_POSITIONS, PatternError, compile_pattern

_CHARS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "\\d", "\\w", "\\.", "[a-c-]", "(?:)"])
_PATTERNS = st.recursive(
    _CHARS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map("|".join).map("({})".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,2}", "{1,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


def _fits(pattern: str) -> bool:
    try:
        compile_pattern(pattern)
    except PatternError:
        return False
    return True


@given(_PATTERNS.filter(_fits), st.text("abc1.-", max_size=8))
def test_it_finds_what_re_finds(pattern, text):
    assert compile_pattern(pattern).search(text) is (re.search(pattern, text, re.ASCII) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^NvidiaXID(48|7[49])Error$", "NvidiaXID79Error", True),
        ("^NvidiaXID(48|7[49])Error$", "NvidiaXID78Error", False),
        ("^NvidiaXID(48|7[49])Error$", "xNvidiaXID79Error", False),
        ("(?i)cuda ERROR", "RuntimeError: CUDA error: unspecified", True),
        ("(^|\\s)x$", "a x", True),
        ("(^|\\s)x$", "ax", False),
        ("a{3}", "aa", False),
        ("a{3}", "baaab", True),
        ("[]x]", "]", True),
        ("[^\\n]", "\n", False),
        ("a.c", "a\nc", False),
        ("a{b", "a{b", True),
        ("", "whatever", True),
        ("(?P<code>\\d+)", "exit 7", True),
        ("\\S\\D", "1x", True),
    ],
)
def test_cases(pattern, text, found):
    assert compile_pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "(",
            ")",
            "a)",
            "[a",
            "*a",
            "a**",
            "a{2}{3}",
            "a{3,2}",
            "\\",
            "\\b",
            "(?=a)",
            "(?<!a)",
            "[z-a]",
            "\\1",
        ),
        *("[[:alpha:]]", "[\\D]", "[a-\\d]", "(" * 40 + ")" * 40),
        "a" * (MAX_PATTERN + 1),
        f"a{{{MAX_POSITIONS + 1}}}",
    ],
)
def test_what_is_no_pattern(pattern):
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(.*)*b", "(a?){60}a{60}", "(x+x+)+y", ".*.*.*.*=.*"]
)
def test_no_pattern_takes_long(pattern):
    found = compile_pattern(pattern)
    began = time.process_time()
    found.search("a" * 511 + "!")
    assert time.process_time() - began < 0.2

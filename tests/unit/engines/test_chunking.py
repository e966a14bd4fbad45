from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.chunking import GROWTH_MAX, PIECE_CHARS_MAX, ends_clause, ends_sentence, pieces

REPLY = (
    "Sure thing, I can help you with that order today. The parcel left our warehouse this "
    "morning, and it should arrive before five o'clock tomorrow. Does that work for you?"
)


@given(st.text(max_size=3_000))
def test_the_pieces_joined_are_the_text_e7(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text(max_size=3_000))
def test_no_piece_is_empty_or_longer_than_the_limit_e8(text: str) -> None:
    assert all(0 < len(piece) <= PIECE_CHARS_MAX for piece in pieces(text))


def test_the_first_piece_is_a_clause_of_a_few_words_e8() -> None:
    assert next(pieces(REPLY)) == "Sure thing, "


def test_a_piece_is_at_most_so_much_longer_than_the_one_before_e8() -> None:
    lengths = [len(piece) for piece in pieces(REPLY * 4)]

    grown = pairwise(lengths)
    assert all(later <= max(40, round(earlier * GROWTH_MAX)) + 24 for earlier, later in grown)


def test_one_word_is_enough_to_start_with_where_the_clause_is_long_e8() -> None:
    assert next(pieces("Sure, I can help you with that order.")) == "Sure, "


def test_one_word_is_too_little_to_start_with_while_others_speak_e8() -> None:
    first = next(pieces("Sure, I can help you with that order.", speakers=lambda: 2))

    assert first == "Sure, I can help you with that order."


def test_a_last_word_is_not_said_alone_e8() -> None:
    said = list(pieces("Great, I have booked a table for four people at eight."))

    assert said == ["Great, ", "I have booked a table for four people at eight."]


def test_pieces_grow_less_while_others_speak_e8() -> None:
    alone = list(pieces(REPLY * 4))

    shared = list(pieces(REPLY * 4, speakers=lambda: 3))

    assert len(shared) > len(alone)


def test_a_long_opening_without_punctuation_is_cut_before_a_conjunction_e8() -> None:
    text = "We checked your account twice today and everything that you ordered is on the way"

    assert next(pieces(text)) == "We checked your account twice today "


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith sees you at ten",
        "Pay 1,250.75 dollars at once",
        '"Yes, of course, sir" he said',
    ],
)
def test_no_cut_falls_inside_a_name_a_number_or_a_quotation_e8(text: str) -> None:
    assert next(pieces(text)) == text


def test_a_word_without_end_is_cut_at_the_limit_e8() -> None:
    assert max(len(piece) for piece in pieces("a" * 5_000)) == PIECE_CHARS_MAX


def test_the_end_of_a_piece_says_how_long_the_pause_is_e31() -> None:
    assert ends_sentence('He said "no." ')
    assert ends_clause("Well, ")
    assert not ends_sentence("Well, ")
    assert not ends_clause("Well")

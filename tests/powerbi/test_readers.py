"""What the readers of TMDL, DAX and M refuse: else they would prove nothing."""

from __future__ import annotations

import pytest

from tests.powerbi.formulas import join_texts, read_dax, read_m
from tests.powerbi.tmdl import TmdlObject, Wrong, read_tmdl, split_reference

TABLE = """/// Rows
/// of a fleet.
table rows

\t/// How many.
\tmeasure 'Row count' = COUNTROWS ( rows )
\t\tformatString: 0

\tmeasure Long =
\t\t\tVAR x = 1
\t\t\tRETURN
\t\t\t    x

\tcolumn device
\t\tdataType: string
\t\tisHidden

\t\tannotation Note = text

\tpartition rows = m
\t\tmode: import
\t\tsource =
\t\t\t\tlet
\t\t\t\t    A = 1
\t\t\t\tin
\t\t\t\t    A
"""


def test_a_table_is_read_with_all_that_it_has() -> None:
    note = TmdlObject("annotation", "Note", 18, default="text", expression="text")
    properties = {"dataType": "string", "isHidden": "true"}
    count = "COUNTROWS ( rows )"
    assert read_tmdl(TABLE) == [
        TmdlObject(
            "table",
            "rows",
            3,
            "Rows of a fleet.",
            children=(
                TmdlObject("measure", "Row count", 6, "How many.", count, count, {"formatString": "0"}),
                TmdlObject("measure", "Long", 9, expression="VAR x = 1\nRETURN\n    x"),
                TmdlObject("column", "device", 14, properties=properties, children=(note,)),
                TmdlObject("partition", "rows", 20, "", "m", "let\n    A = 1\nin\n    A", {"mode": "import"}),
            ),
        )
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("\tcolumn device", "    column device"),
        ("\tcolumn device", "\t\tcolumn device"),
        ("\tcolumn device", "\tcolum device"),
        ("\tcolumn device", "\tcolumn"),
        ("\tcolumn device", "\tcolumn two words"),
        ("dataType: string", "dataType: text"),
        ("dataType: string", "dataTyp: string"),
        ("dataType: string", "dataType:string"),
        ("\t\tisHidden", "\t\tisHiden"),
        ("\t\tisHidden", "\t\tdataType: int64"),
        ("\t\tisHidden", "\t\tisHidden: yes\n\t\tisHidden"),
        ("\t\tformatString: 0", "\t\t\tformatString: 0"),
        ("mode: import", "mode: direct"),
        ("\t\t\tVAR x = 1", "\t\tVAR x = 1"),
        ("table rows", "table rows = 1"),
        ("/// of a fleet.\ntable rows", "/// of a fleet."),
        ("\t\t\t\t    A\n", "\t\t\t\t    A"),
    ],
)
def test_what_power_bi_would_not_read_is_refused(before: str, after: str) -> None:
    assert before in TABLE
    with pytest.raises(Wrong):
        read_tmdl(TABLE.replace(before, after))


@pytest.mark.parametrize("text", ["SUMM ( a[b] )", "SUM ( a[b]", "SUM ( a[b] ) )", "SUM ( a[b] ) ?"])
def test_a_formula_with_a_mistake_of_spelling_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        read_dax(text)


def test_the_names_of_a_formula_are_told_apart() -> None:
    names = read_dax("VAR x = MAX ( 'my rows'[time] ) RETURN CALCULATE ( [Count], rows[time] = x, rows )")
    assert names.columns == {("my rows", "time"), ("rows", "time")}
    assert (names.measures, names.tables) == ({"Count"}, {"rows"})


def test_the_names_of_a_query_are_told_apart() -> None:
    text = (
        '(a as text) as table => let Rows = Read(a, [Kind = "x"]), Kept = F(Rows, each [date] > B, (c, d) => c) in Kept'
    )
    names = read_m(text)
    assert names.steps == {"Rows", "Kept"}
    assert names.used == {"Read", "Rows", "F", "B", "Kept"}
    assert (names.fields, names.texts) == ({"date"}, {"x"})


@pytest.mark.parametrize("text", ["F(a", "F(a]", "{1, 2", '"open'])
def test_a_query_with_brackets_that_do_not_match_is_refused(text: str) -> None:
    with pytest.raises(Wrong):
        read_m(text)


def test_texts_are_joined_with_those_of_other_expressions() -> None:
    expressions = {
        "F": '(x as text) as text =>\n"a ""b"" " & x & Name',
        "Name": 'let\n    N = "c" & Part\nin\n    N',
        "Part": '"d"',
    }
    assert join_texts(expressions, "F", {"x": "1"}) == 'a "b" 1cd'
    with pytest.raises(Wrong):
        join_texts({"F": '"a" + "b"'}, "F")


def test_a_reference_without_a_column_is_refused() -> None:
    assert split_reference("rows.'my column'") == ("rows", "my column")
    with pytest.raises(Wrong):
        split_reference("rows")

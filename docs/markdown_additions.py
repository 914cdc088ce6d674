"""What the pages' Markdown has beyond MkDocs Material's: formulas, and code that is not run.

GitHub and readers of the sources see formulas in dollar signs, which become MathML here: browsers
draw it without JavaScript and without another host. Code fences marked `norun` are those that the
tests leave out.
"""

import html
import re

from latex2mathml.converter import convert
from markdown import Extension
from markdown.postprocessors import Postprocessor
from markdown.preprocessors import Preprocessor

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S
)  # as pymdownx.arithmatex writes them, with `generic`


class FencesWithoutMarks(Preprocessor):
    def run(self, lines):
        return [re.sub(r"^(\s*```\w+) norun$", r"\1", line) for line in lines]


class FormulasAsMathML(Postprocessor):
    def run(self, text):
        return FORMULA.sub(as_mathml, text)


def as_mathml(match):
    formula = html.unescape(match[2]).replace(r"\arg\m", r"\operatorname{arg}\m")
    return convert(formula, display="inline" if match[1] == "span" else "block")


class Additions(Extension):
    def extendMarkdown(self, md):
        md.preprocessors.register(FencesWithoutMarks(md), "fences_without_marks", 30)
        md.postprocessors.register(FormulasAsMathML(md), "formulas_as_mathml", 1)


def makeExtension(**options):  # the name that Markdown looks for
    return Additions(**options)
